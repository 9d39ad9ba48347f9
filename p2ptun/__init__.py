"""A peer-to-peer tunnel: ICE finds the path, Noise guards it, a TUN device carries IP over it."""

__version__ = "0.1.0"
