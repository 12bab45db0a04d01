"""Gives a library another embedding while it is used: `productsearch-engine reembed`.

``change`` computes the new vectors and switches, ``comparison`` shows what scores and pinned
searches become, ``command`` is the command line. The tables are in ``store.reembeddings``.

Knows kept images, embeddings and progress. Does not know SQL or HTTP.
"""
