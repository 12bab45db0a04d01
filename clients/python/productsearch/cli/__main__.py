"""``python -m productsearch.cli`` is the same as ``productsearch``."""

from productsearch.cli import run

run()
