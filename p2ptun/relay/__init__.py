"""STUN and TURN, the server's side (RFC 8489, RFC 5780, RFC 8656): what `p2ptun serve` does between its sockets, pure.

`server` has the doors. `reflector` answers Binding requests, `service` authenticates TURN requests and hands them to
`allocate` and `method`, `carrier` moves data; all of them change only what `registry` holds, within `quota`, `guard`
and `limiter`.
"""
