"""The NATs on our side: how they behave (RFC 5780, in the terms of RFC 4787), and ports that they forward on request.

Behaviour, bottom up: `behavior` holds the values, `trust` judges addresses that a server names, `probe` asks one
question several times, `trial` believes a silence or doesn't, `classify` draws conclusions, `survey` questions one
server, `discovery` joins them in one machine; `lifetime` is another one, for it takes minutes.
"""
