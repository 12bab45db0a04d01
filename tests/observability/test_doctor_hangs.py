"""The doctor ends in time, whatever hangs, and says what did."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from productsearch_service import settings_reading
from productsearch_service.server.doctor import age, command
from tests.observability.test_doctor import Doctor, doctor, key_pair, not_well, short_sign  # noqa: F401 - fixtures


def _say_nothing(line: socket.socket) -> None:
    line.recv(1)


def _say_a_byte_now_and_then(line: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n" + b" " * 60:
        line.sendall(bytes([byte]))
        time.sleep(0.2)


@pytest.mark.usefixtures("short_sign")
@pytest.mark.parametrize(
    ("answers", "scheme", "found"),
    [
        (_say_nothing, "http", {"clock", "token"}),
        (_say_a_byte_now_and_then, "http", {"clock", "token"}),
        (_say_nothing, "https", {"tls", "token"}),
    ],
)
def test_an_upstream_that_hangs_altogether(
    answers: Callable[[socket.socket], None],
    scheme: str,
    found: set[str],
    doctor: Doctor,  # noqa: F811
) -> None:
    """It says nothing, or hardly anything: told as that, and nothing else waits for it."""
    with hanging(answers) as address:
        began_s = time.monotonic()
        reports = doctor({"base_url": f"{scheme}://{address}"}, limit_s=1.5)
        assert time.monotonic() - began_s < 5 * 1.5
    assert {f"upstream.{code}": "broken" for code in found} == not_well(reports)
    if "clock" in found:
        assert "it hangs" in reports["upstream.clock"].evidence
    assert all(reports[f"upstream.{code}"].remedy for code in found)


@contextmanager
def hanging(answers: Callable[[socket.socket], None]) -> Iterator[str]:
    """Listen, and let each connection have its thread; yield the address."""
    lines = []

    def serve(line: socket.socket) -> None:
        with suppress(OSError):
            answers(line)

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = listening.accept()
                lines.append(line)
                Thread(target=serve, args=[line], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = Thread(target=accept, daemon=True)
        accepting.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for line in lines:
            line.close()


@pytest.mark.usefixtures("short_sign")
def test_an_upstream_that_does_not_accept(doctor: Doctor) -> None:  # noqa: F811
    """Its queue is full: no connection comes about, and what needs one is skipped."""
    with socket.socket() as full, ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            line = waiting.enter_context(socket.socket())
            line.setblocking(False)
            line.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        reports = doctor({"base_url": url}, limit_s=1.2)
    assert {"upstream.connect": "broken", "upstream.token": "broken"} == not_well(reports)
    assert "skipped" == reports["upstream.clock"].state == reports["upstream.search"].state


def test_a_name_server_that_hangs(
    doctor: Doctor,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name has a code of its own, and nobody waits for the thread that asks."""
    ends, real = Event(), socket.getaddrinfo

    def ask(host: Any, *rest: Any, **options: Any) -> Any:
        if host == "slow.invalid":
            ends.wait(60)
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    began_s = time.monotonic()
    try:
        reports = doctor({"base_url": "https://slow.invalid"}, limit_s=1.5)
        assert time.monotonic() - began_s < 5 * 1.5
    finally:
        ends.set()
    assert "unknown" == reports["upstream.resolve"].state
    assert "name server" in reports["upstream.resolve"].remedy
    assert {"upstream.resolve", "upstream.token"} >= {*not_well(reports)}
    assert "skipped" == reports["upstream.connect"].state == reports["upstream.tls"].state


def test_settings_on_a_volume_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them is the check that did not end."""
    ends = Event()
    monkeypatch.setattr(settings_reading, "read_settings", lambda _: ends.wait(60))
    (report,) = command.diagnose(1.1)
    ends.set()
    assert ("settings.read", True) == (report.code, "did not end" in report.evidence)
    assert "volume" in report.remedy


def test_the_limit_begins_with_the_process(key_pair: Path) -> None:  # noqa: F811
    """The command beside an upstream that hangs ends at it, whatever its start took."""
    with hanging(_say_nothing) as address:
        only = {"BASE_URL": f"http://{address}", "CREDENTIALS_DIR": str(key_pair)}
        library = {f"PRODUCTSEARCH_LIBRARIES__DEFAULT__{name}": to for name, to in only.items()}
        ports = {
            f"PRODUCTSEARCH_{name}LISTEN": "127.0.0.1:0" for name in ("", "ADMIN_", "METRICS_")
        }
        began_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "productsearch_service", "doctor", "--json", "--limit", "2.5"],
            env={**os.environ, **library, **ports},
            capture_output=True,
            text=True,
            check=False,
        )
        assert time.monotonic() - began_s < 5 * 3
    assert 3 == done.returncode, done.stderr
    assert json.loads(done.stdout)["checks"]
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        time.sleep(0.5)
        of_other_s = age.of_process_s(other.pid)
        other.kill()
    assert 0.4 <= of_other_s <= 5
