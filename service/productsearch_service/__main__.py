"""Starts the service: ``productsearch-service`` or ``python -m productsearch_service``."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from productsearch_service import limits, logs
from productsearch_service.server import Server
from productsearch_service.settings import SettingsError, read_settings

_HEALTH_TIMEOUT_S = 3.0
_M_MMAP_THRESHOLD = -3
"""mallopt's name for it, in malloc.h."""


def main() -> int:
    """Run a command and return the exit code; 2 for wrong settings."""
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
    health.add_argument("address", nargs="?", default="127.0.0.1:50051")
    arguments = parser.parse_args()
    return _health(arguments.address) if arguments.command == "health" else _serve()


def _serve() -> int:
    """Run until SIGTERM or SIGINT; a second signal hurries."""
    try:
        settings = read_settings()
        server = Server(settings)
    except (SettingsError, OSError, ValueError) as error:
        return _cannot_start(str(error))
    except RuntimeError:  # grpc's way to say so
        return _cannot_start(f"listen: {settings.listen} is taken")
    logs.install(settings.log_level)
    _give_pictures_back()
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
    logging.shutdown()
    # Python would wait for threads that still wait for an upstream, half a minute at most;
    # their callers have been answered.
    os._exit(0)


def _give_pictures_back() -> None:
    """Let the allocator return the memory of pictures to the system as soon as they are done.

    glibc keeps large blocks for later once a few were freed, in a heap for each thread: under 256
    callers with 3 MB each that was a third of the peak.
    """
    with contextlib.suppress(AttributeError):  # another C library has no such setting
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, limits.OWN_BLOCK_BYTES_MIN)


def _cannot_start(why: str) -> int:
    sys.stderr.write(f"productsearch-service cannot start:\n{why}\n")
    return 2


def _health(address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        try:
            health: Any = health_pb2_grpc.HealthStub(channel)  # its types lack the methods
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_TIMEOUT_S)
        except grpc.RpcError:
            sys.stdout.write("UNREACHABLE\n")
            return 1
    sys.stdout.write(f"{health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}\n")
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main())
