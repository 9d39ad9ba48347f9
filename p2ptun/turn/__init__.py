"""TURN (RFC 8656), the client's side: addresses on a server that relays for us."""
