"""The gRPC side: what surrounds each RPC, and the six RPCs themselves.

``interceptor`` identifies, admits and bounds a call · ``admission`` counts what is under way ·
``servicer`` has the RPCs · ``validation`` turns requests into commands · ``page_token`` makes and
reads page tokens · ``bulk`` runs a stream's items · ``status`` turns errors into statuses. The only
folder that knows the protos.
"""
