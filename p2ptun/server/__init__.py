"""`p2ptun serve`: the sockets around the relay core."""
