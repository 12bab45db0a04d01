"""Starts the command line: ``productsearch-service``, or ``python -m productsearch_service``."""

import signal
import sys


def main() -> int:
    """Run a command and return the exit code.

    Signals are held back until the command is known: one that comes while it is being loaded ends
    a service like any other, and with no traceback. Process 1 of a container would lose it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    from productsearch_service import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
