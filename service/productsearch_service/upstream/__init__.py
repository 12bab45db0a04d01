"""Speaks the upstream's REST contract: typed calls in, typed answers or errors out.

``client`` the four calls · ``form`` the encoder · ``answers`` reads JSON · ``codes`` the one
table from code to error · ``token`` · ``credentials`` · ``pacer`` · ``retry`` · ``transport``
the only HTTP import. Knows nothing of gRPC or generated code.
"""
