"""Interactive Connectivity Establishment: find a path to a peer, and know whether it still works (RFC 8445).

Start reading at `agent.py`. Bottom up: `candidate` and `pair` are the values, `check` the messages; `checklist` knows
what to check next, `generation` checks it, `lineage` keeps generations apart across restarts; `path` watches over what
carries data, `connection` decides, `agent` is the door.

What is refused of the RFCs, and why; the README tells users the rest:

* One data stream with one component: a tunnel has nothing else. So there is one check list, and no set of them.
* Being ICE-lite: both sides of a tunnel are full agents. With a lite peer we are the controlling side.
* Aggressive nomination (RFC 5245): followed when a peer does it, never done.
* Server-reflexive TCP candidates (RFC 6544 5.2): they need STUN over TCP from the same port.
"""
