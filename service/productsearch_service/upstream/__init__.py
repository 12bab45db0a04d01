"""Speaks the upstream's REST contract: typed calls in, typed answers or errors out.

``client`` the four calls · ``exchange`` one call, with everything around it · ``form`` the encoder
· ``answers`` reads JSON · ``codes`` the one table from code to error · ``token``, ``issuer``,
``credentials``, ``rotation`` · ``pacer``, ``rate``, ``latency`` · ``retry``, ``gate`` ·
``transport``, ``connections``, ``punctual`` and ``heads`` the only HTTP imports · ``sealed`` values
that do not show themselves. Knows nothing of gRPC or generated code.
"""
