"""Rendezvous: how the descriptions of two sides reach each other. It moves messages and understands none of them."""
