"""What operators and the platform see: health, readiness, liveness, metrics, logs.

``health`` serves health by gRPC on a port of its own; ``http`` serves metrics and probes by HTTP.
Both have threads of their own and answer while the event loop is busy.
``readiness`` decides whether calls should come; ``liveness`` whether the event loop still ticks.
"""
