"""STUN (RFC 8489): messages, attributes, integrity, transactions, credentials, URIs.

Bottom up: `codec` turns values into bytes, `attribute` names them, `message` frames them, `integrity` and `error` seal
and refuse, `transaction` repeats a request until it is answered, `credential` proves who asks, `stream` cuts a TCP
stream into messages, `binding` is the one STUN usage that everybody needs, `uri` reads the servers that people write.
"""
