"""What the operator and the platform see: health, readiness, metrics, and the ports for them.

``admin`` opens both ports: gRPC with ``health``, and HTTP (``scraping``) with ``metrics``.
``readiness`` decides whether calls should come. ``rpcs``, ``tally`` and ``vitals`` are the counts
and states that metrics gather when somebody asks.
"""
