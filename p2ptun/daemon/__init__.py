"""What runs: a tunnel from start to end, its control socket, its status and its events."""
