"""Who calls, and what they may do.

``identify`` finds the caller of an RPC: by certificate, by what a sidecar forwards
(``forwarded_client_cert``), by a bearer token, else by its address. ``policy`` decides what that
caller may do. Knows no gRPC: the interceptor passes the peer.
"""
