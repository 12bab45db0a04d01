"""Starts the processes that a measure needs, and stops them at its end."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from demo.processes import Server


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
        with process("benchmarks.upstream", *command, log=directory / "log") as running:
            yield running.url, bundle


def process(module: str, *arguments: str, log: Path) -> Server:
    """Return a module's process that says where it listens; start it as a context."""
    return Server([sys.executable, "-m", module, *arguments], log, {})
