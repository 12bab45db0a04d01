"""The command line ``productsearch``; needs the extra ``[cli]``."""

from __future__ import annotations

import os
import sys

# Status of a shell for a command that cannot be used as it is; exit_codes.py needs no extra, but
# says nothing of a missing one.
_MISSING_EXTRA = 2


def run() -> None:
    """Run the command line and exit; the entry point of the script."""
    # The core of gRPC writes lines of its own to stderr, beside the error that a command tells.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        # Commands import what they need when they are used: a package can be missing then too.
        from productsearch.cli.main import main

        code = main()
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("productsearch"):
            raise
        from productsearch.cli.extras import how_to_install

        sys.stderr.write(
            f"productsearch: the package {missing.name} is not installed.\n"
            f"  next: {how_to_install('cli')}\n"
        )
        sys.exit(_MISSING_EXTRA)
    sys.exit(code)
