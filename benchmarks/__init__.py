"""The product's performance, each measure beside its floor or its rival in the same run.

``python -m benchmarks`` runs all measures, ``python -m benchmarks encoder transport`` some.
A measure is a module with ``run(rounds) -> Findings``; servers and callers are processes of
their own, so that the CPU of the one that is measured is its own too::

    encoder transport facade rivals added crowd memory mixed engine    the measures
    stage        starts upstream, facade, floor; knows how each is addressed
    upstream     a server that costs little, in place of the vendor's
    null_rpc     the floor of any gRPC server in Python
    callers  posts  sdk      load: gRPC callers, raw urllib3, the vendor's SDK
    pictures  clocks  findings  plots     sizes; CPU and spread; what a measure found
"""
