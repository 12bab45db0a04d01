"""Measures embeddings on labelled images: `productsearch-engine evaluate`.

``dataset`` reads the labels, ``protocols`` decides what is stored and what is searched with,
``measure`` embeds and searches, ``metrics`` and ``bootstrap`` have the figures, ``baselines``
the embeddings that nobody would ship, ``reliability`` what a score is worth, ``pins`` the
searches that must not get lost, ``charts`` and ``page`` the report, ``command`` the command line.

Knows files, labels and vectors. Does not know HTTP; the one thing it writes into a database is a
library's calibration, by way of ``store``.
"""
