"""`p2ptun serve` over HTTP: rooms for programs, a page for people."""
