"""Signalling: what the two sides tell each other before there is a tunnel, and the forms in which they say it."""
