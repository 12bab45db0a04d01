"""Starts the processes that a measure needs, and stops them at its end."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final, cast

import psutil
import trustme

from benchmarks.load import Command, Result
from demo.facade import Facade
from demo.processes import Server

BEARER: Final = "a-token-of-the-benchmark"
WARM_S: Final = 1.0
"""A crowd whose calls begin together waits in a queue of its own making for a few calls."""


@contextmanager
def upstream(*, tls: bool = False, delay_ms: float = 0) -> Iterator[tuple[str, Path | None]]:
    """Start the cheap upstream; yield its URL, and the certificates to trust if it has TLS."""
    with tempfile.TemporaryDirectory(prefix="productsearch-bench-") as name:
        directory = Path(name)
        command = ["--delay-ms", str(delay_ms)]
        bundle = None
        if tls:
            bundle = directory / "authority.pem"
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(bundle))
            certificate = directory / "upstream.pem"
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
                str(certificate)
            )
            command += ["--tls", str(certificate)]
        with _module("benchmarks.upstream", *command, log=directory / "log") as running:
            yield running.url, bundle


class _FacadeOf(Facade):
    """The facade of another checkout, by that checkout's interpreter, or one that was changed."""

    def __init__(self, python: Path, module: str, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._command = [str(python), "-m", module]


@contextmanager
def facade(
    upstream_url: str,
    bundle: Path | None,
    *,
    python: Path = Path(sys.executable),
    module: str = "productsearch_service",
    settings: Mapping[str, str] | None = None,
) -> Iterator[Facade]:
    """Start the facade as in production: credential files, a policy, an access log.

    ``module`` is what runs; ``settings`` are variables of its environment beside these.
    """
    with tempfile.TemporaryDirectory(prefix="productsearch-bench-") as name:
        data = Path(name)
        policy = data / "policy.toml"
        digest = hashlib.sha256(BEARER.encode()).hexdigest()
        policy.write_text(
            f'[callers.bench]\ntoken_sha256 = ["{digest}"]\n'
            '[[rules]]\ncallers = ["bench"]\nlibraries = ["default"]\nmethods = ["*"]\n'
        )
        environment = {"PRODUCTSEARCH_POLICY_FILE": str(policy), **(settings or {})}
        if bundle is not None:
            environment["PRODUCTSEARCH_LIBRARIES__DEFAULT__CA_BUNDLE"] = str(bundle)
        pairs = {"default": ("the-api-key", "the-secret-key")}
        with _FacadeOf(
            python, module, data, upstream_url, pairs, environment=environment, upstream=""
        ) as running:
            yield running


@contextmanager
def floor(
    upstream_url: str, bundle: Path | None, size_bytes: int, *, encodes: bool = False
) -> Iterator[Server]:
    """Start an RPC that only posts ready forms of images that large (see null_rpc).

    ``encodes``: it encodes and posts the images that it gets instead.
    """
    arguments = ["--post", upstream_url, "--size", str(size_bytes)]
    if bundle is not None:
        arguments += ["--bundle", str(bundle)]
    if encodes:
        arguments.append("--encode")
    with (
        tempfile.TemporaryDirectory(prefix="productsearch-bench-") as name,
        _module("benchmarks.null_rpc", *arguments, log=Path(name) / "log") as running,
    ):
        yield running


class Load:
    """A process that makes calls; a context."""

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def begin(self, command: Command) -> None:
        """Tell it to make calls, and do not wait for their end."""
        stream = cast("IO[str]", self._process.stdin)
        stream.write(json.dumps(asdict(command)) + "\n")
        stream.flush()

    def end(self, watched: Server | None = None) -> Result:
        """Wait for the calls and return what came of them; raise if one failed."""
        lines = cast("IO[str]", self._process.stdout)
        cpu_s = []
        for mark in ("counting", "counted"):
            if (line := lines.readline().strip()) != mark:
                raise AssertionError(f"the load said {line!r}, not {mark}")
            cpu_s.append(_cpu_s(watched) if watched else 0.0)
        result = Result(**json.loads(lines.readline()))
        if result.failed:
            raise AssertionError(f"calls failed: {result.failed}")
        result.server_cpu_s = cpu_s[1] - cpu_s[0]
        return result

    def run(self, command: Command, watched: Server | None = None) -> Result:
        """Make calls and wait for them."""
        self.begin(command)
        return self.end(watched)


def _cpu_s(server: Server) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return times.user + times.system


class PeakRss:
    """Watches the resident memory of a server; a context. ``bytes`` is the most it had."""

    def __init__(self, server: Server) -> None:
        self._process = psutil.Process(server.pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> PeakRss:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


def rss_bytes(server: Server) -> int:
    """Return the resident memory of a server."""
    return int(psutil.Process(server.pid).memory_info().rss)


def _module(module: str, *arguments: str, log: Path) -> Server:
    """Return a module's process that says where it listens; start it as a context."""
    return Server([sys.executable, "-m", module, *arguments], log, {})
