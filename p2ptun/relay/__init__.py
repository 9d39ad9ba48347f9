"""The server's side of STUN and TURN (RFC 8489, RFC 8656, RFC 5780), pure: what `p2ptun serve` does between its sockets."""
