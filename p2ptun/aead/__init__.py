"""Authenticated encryption of tunnel datagrams: libsodium's AEADs over preallocated buffers."""
