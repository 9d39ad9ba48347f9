"""Where rooms are kept: in memory, in an SQLite file, in Redis."""
