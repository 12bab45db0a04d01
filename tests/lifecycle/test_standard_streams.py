"""stdout on a full disk, stderr that nobody reads: the service serves, and ends when it is told."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.interop.certificates import Certificates
from tests.lifecycle.asking import http_at, until
from tests.ports import free_port

FULL = Path("/dev/full")
PIPE_BYTES = 4096
HANDSHAKES = 40
ENDS_WITHIN_S = 15.0
"""With a drain of no time; a thread of gRPC that waits for a reader would hold it for ever."""

needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


@contextmanager
def unread_pipe() -> Iterator[int]:
    """Return the end to write to of a pipe that is full from the beginning."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, b"x"):
            pass
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


def _ready(metrics: str) -> bool:
    with suppress(OSError):
        return http_at(metrics, "/readyz")[0] == 200
    return False


@needs_full
def test_nobody_reads_and_strangers_shake_hands(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Handshakes that fail leave nothing to write that could hold gRPC's threads."""
    files, listen, metrics = Certificates(tmp_path), free_port(), f"127.0.0.1:{free_port()}"
    settings = {
        "LIBRARIES__DEFAULT__BASE_URL": upstream.url,
        "LIBRARIES__DEFAULT__API_KEY": "k",
        "LIBRARIES__DEFAULT__SECRET_KEY": "s",
        "LISTEN": f"127.0.0.1:{listen}",
        "ADMIN_LISTEN": "",
        "METRICS_LISTEN": metrics,
        "TLS_CERT_FILE": str(files.server_certificate),
        "TLS_KEY_FILE": str(files.server_key),
        "DRAIN_DELAY_S": "0",
        "DRAIN_GRACE_S": "1",
    }
    named = {f"PRODUCTSEARCH_{name}": value for name, value in settings.items()}
    with FULL.open("w") as full, unread_pipe() as unread:
        process = subprocess.Popen(
            [sys.executable, "-m", "productsearch_service"],
            env=os.environ | named,
            stdout=full,
            stderr=unread,
        )
        try:
            until(lambda: _ready(metrics), "ready, though nothing can be said on stdout")
            for _ in range(HANDSHAKES):
                with socket.create_connection(("127.0.0.1", listen), 10) as line:
                    line.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    with suppress(ConnectionError):
                        line.recv(1)  # it is refused
            assert _ready(metrics)
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(ENDS_WITHIN_S)
        finally:
            process.kill()
            process.wait()


@needs_full
def test_a_refusal_to_start_that_cannot_be_told_is_one() -> None:
    """Its exit code says it."""
    with FULL.open("w") as full:
        started = subprocess.run(
            [sys.executable, "-m", "productsearch_service"],
            env=os.environ | {"PRODUCTSEARCH_LISTEN": "nonsense"},
            stdout=full,
            stderr=full,
            timeout=60,
            check=False,
        )
    assert 2 == started.returncode
