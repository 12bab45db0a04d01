"""Starts the service: ``productsearch-service`` or ``python -m productsearch_service``.

Signals are taken first of all and the rest is imported after that: as process 1 of a container
a process loses signals for which it has no handler.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
from pathlib import Path

_EXIT_STOPPED = 0
_EXIT_CANNOT_START = 2
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
"""mallopt's names for them, in malloc.h."""


def main() -> int:
    """Run a command and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="productsearch-service",
        description=(
            "The gRPC service productsearch.v1.ProductSearch. Settings come from the TOML file "
            "that PRODUCTSEARCH_SETTINGS names and from PRODUCTSEARCH_... variables; "
            "secrets never from the command line."
        ),
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve until SIGTERM (the default)")
    health = commands.add_parser("health", help="exit 0 if a running service says SERVING")
    health.add_argument("address", nargs="?", default="127.0.0.1:50052", help="its admin port")
    policy = commands.add_parser("policy", help="ask a policy file").add_subparsers(
        dest="question", required=True
    )
    check = policy.add_parser("check", help="exit 0 if a call is allowed, 1 if not")
    check.add_argument("file", type=Path)
    check.add_argument("identity", help="SPIFFE id, DNS name, or name of a bearer token's caller")
    check.add_argument("method", help="such as SearchImages")
    check.add_argument("library")
    asked = parser.parse_args()
    if asked.command == "health":
        return _health(asked.address)
    if asked.command == "policy":
        return _policy_check(asked.file, asked.identity, asked.method, asked.library)
    return _serve()


def _serve() -> int:
    """Run until SIGTERM or SIGINT; a second signal hurries."""
    stopping, hurry = threading.Event(), threading.Event()

    def on_signal(*_: object) -> None:
        (hurry if stopping.is_set() else stopping).set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if os.getpid() == 1:
        # Orphans of whoever is started beside us in the container become our children.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    from productsearch_service import limits, logs
    from productsearch_service.affinity import OneCore
    from productsearch_service.draining import wait_for_signal
    from productsearch_service.ports import CannotListen
    from productsearch_service.reloading import Watch
    from productsearch_service.server import Server
    from productsearch_service.settings import SettingsError, read_settings

    try:
        settings = read_settings()
        logs.install(settings.log_level)
        server = Server(settings, with_admin=True)
    except (SettingsError, CannotListen, OSError, ValueError) as error:
        sys.stderr.write(f"productsearch-service cannot start:\n{error}\n")
        sys.stderr.flush()
        os._exit(_EXIT_CANNOT_START)  # threads of what was begun do not hold it up
    _give_pictures_back()
    sys.setswitchinterval(limits.THREAD_TURN_S)
    server.start()
    Watch([OneCore()] if settings.one_core else [], limits.CORE_LOOK_S)
    # Whoever started this process waits for the last line; with port 0 it has the real ones.
    for what, address, port in (
        ("admin", settings.admin_listen, server.admin_port),
        ("metrics", settings.metrics_listen, server.metrics_port),
        ("listening", settings.listen, server.port),
    ):
        if address:
            sys.stdout.write(f"{what} on {address.rpartition(':')[0]}:{port}\n")
    sys.stdout.flush()
    wait_for_signal(stopping)
    server.stop(hurry)
    logging.shutdown()
    # Python would wait for threads that still wait for an upstream, half a minute at most;
    # their callers have been answered.
    os._exit(_EXIT_STOPPED)


def _give_pictures_back() -> None:
    """Let the allocator return the memory of pictures to the system as soon as they are done.

    glibc keeps large blocks for later once a few were freed, in a heap for each thread: under 256
    callers with 3 MB each that was a third of the peak.
    """
    from productsearch_service import limits

    settings = (
        (_M_MMAP_THRESHOLD, limits.OWN_BLOCK_BYTES_MIN),
        (_M_TRIM_THRESHOLD, limits.FREE_BYTES_KEPT),
    )
    with contextlib.suppress(AttributeError):  # another C library has no such function
        set_option = ctypes.CDLL(None).mallopt
        for name, value in settings:
            set_option(name, value)


def _health(address: str) -> int:
    from productsearch_service.operations.health import ask

    status = ask(address)
    sys.stdout.write(f"{status}\n")
    return 0 if status == "SERVING" else 1


def _policy_check(file: Path, identity: str, method: str, library: str) -> int:
    from productsearch_service.access.policy import METHODS, Policy, PolicyError, read_content

    try:
        policy = Policy.parse(read_content(file))
    except PolicyError as error:
        sys.stderr.write("".join(f"{file}: {line}\n" for line in str(error).splitlines()))
        return _EXIT_CANNOT_START
    if method not in METHODS:
        sys.stderr.write(f"METHOD: {method!r} is none of {', '.join(METHODS)}\n")
        return _EXIT_CANNOT_START
    verdict = policy.explain(identity, method, library)
    sys.stdout.write(f"{'allowed' if verdict.allowed else 'denied'}: {verdict.why}\n")
    return 0 if verdict.allowed else 1


if __name__ == "__main__":
    sys.exit(main())
