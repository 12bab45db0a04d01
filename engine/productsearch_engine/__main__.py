"""Lets ``python -m productsearch_engine`` run the command line."""

from __future__ import annotations

import sys

from productsearch_engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
