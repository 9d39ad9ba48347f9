"""IP packets to datagrams and back, in batches of buffers."""
