"""Starts the service: ``productsearch-service`` or ``python -m productsearch_service``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading

from productsearch_service.server import Server
from productsearch_service.settings import SettingsError, read_settings


def main() -> int:
    """Run until SIGTERM or SIGINT; a second signal hurries. Return the exit code."""
    argparse.ArgumentParser(
        prog="productsearch-service",
        description=(
            "Serve productsearch.v1.ProductSearch. Settings come from the TOML file that "
            "PRODUCTSEARCH_SETTINGS names and from PRODUCTSEARCH_... variables; "
            "secrets never from the command line."
        ),
    ).parse_args()
    try:
        settings = read_settings()
        server = Server(settings)
    except (SettingsError, OSError, ValueError) as error:
        sys.stderr.write(f"productsearch-service cannot start:\n{error}\n")
        return 2
    except RuntimeError:
        sys.stderr.write(
            f"productsearch-service cannot start:\nlisten: {settings.listen} is taken\n"
        )
        return 2
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    stopping, hurry = threading.Event(), threading.Event()

    def on_signal(*_: object) -> None:
        (hurry if stopping.is_set() else stopping).set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    server.start()
    # Whoever started this process waits for the line; with port 0 it has the real one.
    sys.stdout.write(f"listening on {settings.listen.rpartition(':')[0]}:{server.port}\n")
    sys.stdout.flush()
    stopping.wait()
    server.stop(hurry)
    return 0


if __name__ == "__main__":
    sys.exit(main())
