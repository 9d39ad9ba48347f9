"""One peer is ICE and a tunnel session; a node is its peers, behind one set of sockets and one TUN device."""
