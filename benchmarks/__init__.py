"""The product's performance, each measure beside its floor or its rival in the same run.

``python -m benchmarks`` runs all measures, ``python -m benchmarks encoder transport`` some, and
``python -m benchmarks --against REV`` compares the facade with the one of another commit. A measure
is a module with ``run(rounds) -> Findings``; servers and callers are processes of their own, so
that the CPU of the one that is measured is its own too::

    encoder transport facade rivals added crowd memory mixed engine    the measures
    against        this checkout beside another commit (checkout)
    go             a facade in Go beside ours, on request
    stage          starts upstream, facade, floor; knows how each is addressed
    upstream       a server that costs little, in place of the vendor's
    null_rpc       the floor of any gRPC facade in Python
    load           makes calls: gRPC callers, raw urllib3, the vendor's SDK
    forms          ready requests of the upstream; plain_aiohttp posts them
    images  clocks  findings  plots    sizes; CPU and spread; what a measure found
"""
