"""The program ``productsearch-engine``, also ``python -m productsearch_engine``."""

from __future__ import annotations

import os
import sys

from productsearch_engine import one_thread


def main() -> int:
    """Run the command line; numeric libraries have one thread, unless the environment says more."""
    for name, value in one_thread.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Imported here: it imports numpy, which reads the environment.
    from productsearch_engine.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
