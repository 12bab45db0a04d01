"""Whole libraries in and out: ``productsearch-engine export``, ``import`` and ``copy``.

``lines`` is the format, ``heads`` its first line, ``fields`` that of a row, ``exporting`` writes
files of it, ``source`` reads them, ``vectors`` says whether they belong together, ``importing``
loads them, ``indexing`` surrounds that, ``copying`` goes from one database to another without a
file, ``embedding`` has vectors made for rows that bring an image, ``progress`` is what a person
sees, ``command`` is the command line. The rows themselves are in ``store.bulk_rows``.
"""
