"""Multicast DNS (RFC 6762) for one purpose: host candidates that hide behind `<uuid>.local`.

The draft is draft-ietf-mmusic-mdns-ice-candidates. Bottom up: `message` is the DNS message (RFC 1035 4), `name` draws
and judges names, `responder` answers for ours, `querier` asks for the other side's, `agent` joins both in one machine.

Why an own core and not python-zeroconf: that one is an event loop's guest throughout. Its engine makes asyncio datagram
endpoints itself, and where no asyncio loop runs it starts a thread with one; there is no object that takes bytes and
gives bytes. Driven from trio it would cost a second loop in a thread for every tunnel, its callbacks would come from
there, and neither its clock nor its sockets (their interfaces, marks, simulated networks) would be ours. What a hidden
host needs of RFC 6762 is a small part: no services, no cache, no probing. In the tests zeroconf is the other side.

What of RFC 6762 is left out, and why:

* Probing and conflicts (8.1, 9): nobody else draws the same 122 random bits, and the draft (3.1.1) says to skip it.
* A cache (10), and continuous querying (5.2): a name is resolved once, when a candidate comes, and then forgotten.
* Waiting for further known answers after a truncated query (7.2): ours are one record to a name; at worst it is sent
  to somebody who knows it.
* Delay before answering (6): names are unique, so that no two hosts ever answer at once.
"""
