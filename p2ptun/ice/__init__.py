"""Interactive Connectivity Establishment: find a path to a peer, and know whether it still works (RFC 8445).

Start reading at `agent.py`. What is refused of the RFCs, and why:

* One data stream with one component: a tunnel has nothing else, and frozen pairs need no second check list.
* ICE-lite: both sides of a tunnel are full agents. A lite peer is answered like any other.
* Aggressive nomination (RFC 5245): tolerated from a peer, never done.
"""
