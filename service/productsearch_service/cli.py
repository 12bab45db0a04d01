"""The command line: ``productsearch-service`` serves; its other commands ask and check.

Signals, held back until then, are taken first of all and the rest is imported after that: as
process 1 of a container a process loses signals for which it has no handler.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import math
import os
import re
import signal
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from productsearch_service.settings import Settings

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_HELD_BACK: Final = (*_STOP_SIGNALS, signal.SIGHUP)
_STDERR: Final = 2
_EXIT_CANNOT_START: Final = 2
_DOCTOR_S: Final = 10.0
"""With the start of its process; on a busy machine that alone can take seconds."""
_DOCTOR_LIMITS_S: Final = (0.1, 300.0)
_GC_THRESHOLDS: Final = (20_000, 20, 50)


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
    files = commands.add_parser("settings", help="ask a settings file").add_subparsers(
        dest="question", required=True
    )
    checked = files.add_parser(
        "check", help="exit 0 if the service can start with it, 1 with warnings, 2 if not"
    )
    checked.add_argument("file", type=Path)
    audit = commands.add_parser("audit", help="ask an audit stream").add_subparsers(
        dest="question", required=True
    )
    verified = audit.add_parser("verify", help="exit 0 if no line was changed or removed, 1 if so")
    verified.add_argument("files", type=Path, nargs="+", help="the oldest first")
    verified.add_argument(
        "--after",
        type=_digest,
        default="",
        metavar="DIGEST",
        help="what older files, not given, end with",
    )
    verified.add_argument(
        "--named",
        action="append",
        type=_digest,
        default=[],
        metavar="DIGEST",
        help="that the log has named: a line must have it",
    )
    doctor = commands.add_parser(
        "doctor",
        help="check all that the service needs: exit 0, 1 with warnings, 2 if broken,"
        " 3 if not all was found out",
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument(
        "--limit", type=_limit, default=_DOCTOR_S, help="seconds until all is told (%(default)s)"
    )
    doctor.add_argument(
        "--expect-running", action="store_true", help="warn if no service runs here"
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    asked = parser.parse_args()
    if asked.command not in (None, "serve"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    if asked.version:
        sys.stdout.write(f"productsearch-service {version('productsearch-service')}\n")
        return 0
    if asked.command == "settings":
        return _settings_check(asked.file)
    if asked.command == "doctor":
        return _doctor(json=asked.json, limit_s=asked.limit, expect_running=asked.expect_running)
    if asked.command == "audit":
        return _audit_verify(asked.files, asked.after, asked.named)
    if asked.command == "health":
        return _health(asked.address)
    if asked.command == "policy":
        return _policy_check(asked.file, asked.identity, asked.method, asked.library)
    return _serve()


def _serve() -> int:
    """Run until SIGTERM or SIGINT; a second signal hurries."""
    signals = _Signals()
    _open_standard_streams()
    # gRPC writes lines of its own to stderr, one for each failed handshake: whoever connects could
    # fill the log's disk, and where nobody reads, each would hold a thread of gRPC for good.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if not sys.stdin or not sys.stdin.isatty():
        # Files are read anew without being told; a reload command must not end all calls.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    if os.getpid() == 1:
        # Orphans of whoever is started beside us in the container become our children.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with suppress(ChildProcessError):  # those that ended before
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    import uvloop

    from productsearch_service.observability import logs
    from productsearch_service.server import memory
    from productsearch_service.server.files import CheckedSettings
    from productsearch_service.server.listen import CannotListen
    from productsearch_service.settings_reading import SettingsError, read_settings

    try:
        logs.install("INFO")  # settings may have something to say
        settings = read_settings(CheckedSettings)
        logs.install(settings.log_level, settings.log_format)
        memory.give_images_back()
        uvloop.run(_run(settings, signals))
    except (SettingsError, CannotListen, OSError, ValueError) as error:
        logging.shutdown()
        with suppress(OSError):  # its disk is full, or its reader gone
            sys.stderr.write(f"productsearch-service cannot start:\n{error}\n")
            sys.stderr.flush()
        os._exit(_EXIT_CANNOT_START)  # threads of what was begun do not hold it up
    logging.shutdown()
    # Python would wait for a thread that still reads from a volume that hangs.
    os._exit(0)


def _open_standard_streams() -> None:
    """Open those of the descriptors 0 to 2 that are closed, on nothing.

    Else a socket gets one: the log would be written to it, and libuv ends a process that closes it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # It stays open until the process ends.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


async def _run(settings: Settings, signals: _Signals) -> None:
    from productsearch_service.server.compose import Server

    server = Server(settings, with_admin=True)
    await server.start()
    # Whoever started this process waits for the last line; with port 0 it has the real ones.
    lines = [
        f"{what} on {address.rpartition(':')[0]}:{port}\n"
        for what, address, port in (
            ("admin", settings.admin_listen, server.admin_port),
            ("metrics", settings.metrics_listen, server.metrics_port),
            ("listening", settings.listen, server.port),
        )
        if address
    ]
    with suppress(OSError):  # its disk is full, or its reader gone: calls are served all the same
        os.write(sys.stdout.fileno(), "".join(lines).encode())
    # What start-up made stays; looking through it again and again was a twelfth of a call's CPU.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    signals.move_to_loop()
    await signals.stopping.wait()
    await server.stop(signals.hurry)


class _Signals:
    """SIGTERM and SIGINT: the first one stops, the second one hurries."""

    def __init__(self) -> None:
        self.stopping, self.hurry = asyncio.Event(), asyncio.Event()
        for number in _STOP_SIGNALS:
            signal.signal(number, self._come)

    def move_to_loop(self) -> None:
        """Let the event loop handle them: it is woken by one, whatever it waits for."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._come)

    def _come(self, *_: object) -> None:
        (self.hurry if self.stopping.is_set() else self.stopping).set()


def _health(address: str) -> int:
    from productsearch_service.observability.health import ask

    status = ask(address)
    sys.stdout.write(f"{status}\n")
    return 0 if status == "SERVING" else 1


def _audit_verify(files: list[Path], after: str, named: list[str]) -> int:
    from productsearch_service.audit_chain import FIRST, verify

    try:
        verdict = verify(files, after=after or FIRST, named=named)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return _EXIT_CANNOT_START
    for line in (*verdict.cut, *verdict.wrong):
        sys.stdout.write(f"{line}\n")
    state = "broken" if verdict.wrong else "whole"
    sys.stdout.write(f"{verdict.lines} lines, the chain is {state}; last digest {verdict.last}\n")
    return 1 if verdict.wrong else 0


def _digest(text: str) -> str:
    """Return a digest in small letters; raise ArgumentTypeError for what no line could have."""
    digest = text.strip().lower()
    if digest and not re.fullmatch("[0-9a-f]{64}", digest):
        raise argparse.ArgumentTypeError(f"must be 64 digits of 0-9 and a-f, not {text!r}")
    return digest


def _limit(text: str) -> float:
    """Return the seconds of a check; raise ArgumentTypeError if nothing could end within them."""
    least, most = _DOCTOR_LIMITS_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not least <= seconds <= most:
        raise argparse.ArgumentTypeError(f"must be {least:g} to {most:g} seconds, not {text!r}")
    return seconds


def _doctor(*, json: bool, limit_s: float, expect_running: bool) -> int:
    from productsearch_service.server.doctor.command import command

    return command(json=json, limit_s=limit_s, expect_running=expect_running)


def _settings_check(file: Path) -> int:
    from productsearch_service.server.concerns import concerns
    from productsearch_service.server.files import CheckedSettings
    from productsearch_service.settings import FILE_VARIABLE
    from productsearch_service.settings_reading import SettingsError, read_settings

    os.environ[FILE_VARIABLE] = str(file)
    try:
        settings = read_settings(CheckedSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_CANNOT_START
    warnings = [*concerns(settings)]
    for concern in warnings:
        sys.stdout.write(f"warning: {concern}\n")
    sys.stdout.write(f"{file}: the service can start with it\n")
    return 1 if warnings else 0


def _policy_check(file: Path, identity: str, method: str, library: str) -> int:
    from productsearch_service.identity.policy import METHODS, Policy, PolicyError, read_content

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
