"""Who calls, and what they may do.

``identity`` finds the caller of an RPC: by certificate, by a sidecar's word (``forwarded``), by a
bearer token, else by its address (``addresses``). ``policy`` says what that caller may do.
``callers`` is the word for it that all other rooms use.
"""
