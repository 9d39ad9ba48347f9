"""Commands and rendering. Data goes to stdout, talk to stderr."""
