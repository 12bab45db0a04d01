"""Starts the command line: ``python -m productsearch_service``."""

import sys

from productsearch_service.cli import main

if __name__ == "__main__":
    sys.exit(main())
