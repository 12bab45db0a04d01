"""Speaks the upstream's REST contract: typed calls in, typed answers or errors out.

``client`` has the four calls · ``exchange`` makes one of them, with token, slot and retries ·
``http`` sends it · ``answers`` and ``codes`` read what comes back · ``auth`` has the token ·
``pacing`` decides when a call may go out · ``masked`` hides secrets from tracebacks · ``stats``
describes the state. Knows nothing of gRPC and of generated code.
"""
