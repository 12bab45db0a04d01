"""The facade: typed RPCs in, REST form calls out, on one event loop.

Imports point downwards only; tests/laws holds it::

    cli                            the command line
    server/                        puts the parts together, opens ports, reloads files, stops
    observability/                 health, readiness, liveness, metrics, logs
    rpc/                           the six RPCs, and what surrounds each of them
    library/                       a library's promises beyond REST; searches answered once
    images/ upstream/ identity/    an image as a form value; the REST calls; who calls
    call_context counters periodic_task redaction
    settings limits errors

docs/architecture.md follows one AddImage through them.
"""
