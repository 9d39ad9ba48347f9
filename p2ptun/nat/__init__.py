"""The NATs on our side: how they behave (RFC 5780, in the terms of RFC 4787), and ports that they forward on request.

Behaviour, bottom up: `behavior` holds the values, `probe` asks one question several times, `trial` believes a silence
or not, `classify` draws conclusions, `survey` questions one server, `discovery` joins them in one machine;
`lifetime` is another one, for it takes minutes. Where a server may send us is said by `stun.trust`.
"""
