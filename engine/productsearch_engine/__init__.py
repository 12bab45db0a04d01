"""Self-hosted product image search over PostgreSQL that speaks the vendor's REST contract.

Imports point downwards only; folders of one line do not import each other::

    cli                                   the commands
    server     reembed                    composes and runs it · another embedding for a library
    api        evaluation                 the REST contract · figures of embeddings
    images     store        database      image bytes · SQL of images and libraries · PostgreSQL
    embedding                             pixels to vectors
    settings   limits       metrics       no imports from the engine

A call flows from api through images (bytes to pixels) and embedding (pixels to a vector) to
store (SQL), which runs on the pool that database opened. Exceptions flow back: only api gives
them an error code. metrics is at the bottom because api writes it and server reads it.

tests/laws/test_engine_rooms.py reads the imports and checks this.
"""
