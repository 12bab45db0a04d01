"""The engine's doctor beside a database that hangs, is stopped or refuses: it ends, and says so."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import psutil
import psycopg
import pytest
from psycopg.errors import ConnectionTimeout

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database import inspection
from productsearch_engine.database.bounded import NoAnswerError
from productsearch_engine.server.doctor import age, command, database, machine
from productsearch_engine.server.doctor.finding import Finding, exit_code
from productsearch_engine.settings import Settings

LIMIT_S = 1.5
MANY = 5
"""Times as long on a busy machine."""


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    """Settings of an engine that was never started."""
    return settings.load({}, {"data": str(tmp_path), "listen": "127.0.0.1:0"})


def _diagnosed(chosen: Settings) -> dict[str, Finding]:
    began_s = time.monotonic()
    findings = command.diagnose(chosen, LIMIT_S)
    assert time.monotonic() - began_s < MANY * LIMIT_S
    assert {*database.JUDGES} <= {each.code for each in findings}
    return {each.code: each for each in findings}


def test_a_database_that_says_nothing(chosen: Settings) -> None:
    """It accepts a connection: its place is told, and what it would have said is skipped."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        dsn = f"host=127.0.0.1 port={port} sslmode=disable"
        found = _diagnosed(replace(chosen, database=dsn))
    answers = found[database.ANSWERS]
    assert "unknown" == answers.state
    assert f"127.0.0.1 port {port}" in answers.evidence
    assert {"skipped"} == {found[code].state for code in database.JUDGES}


@pytest.mark.parametrize(("sign_s", "state"), [(0.0, "broken"), (5.0, "unknown")])
@pytest.mark.parametrize("error", [NoAnswerError, ConnectionTimeout])
def test_a_database_that_was_waited_for(
    sign_s: float,
    state: str,
    error: type[psycopg.Error],
    chosen: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It hangs if it had long enough to answer; else nothing is known."""

    def give_up(dsn: str, ends_s: float) -> None:
        raise error("the database did not answer in time")

    monkeypatch.setattr(database, "SIGN_S", sign_s)
    monkeypatch.setattr(inspection, "inspect", give_up)
    first, *rest = database.checks(replace(chosen, database="host=127.0.0.1"), 0)
    assert (database.ANSWERS, state) == (first.code, first.state)
    assert {"skipped"} == {each.state for each in rest}


def test_a_database_that_refuses(chosen: Settings) -> None:
    """Told at once, as that."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        dsn = f"host=127.0.0.1 port={taken.getsockname()[1]} sslmode=disable"
        found = _diagnosed(replace(chosen, database=dsn))
    assert "broken" == found[database.ANSWERS].state
    assert "did not end" not in found[database.ANSWERS].evidence


@pytest.mark.slow
def test_a_database_whose_processes_stand_still() -> None:
    """The command ends although PostgreSQL was stopped with SIGSTOP."""
    with Engine() as engine:
        pid_file = engine.data / "postgres" / "postmaster.pid"
        first = psutil.Process(int(pid_file.read_text().split()[0]))
        postgres = [first, *first.children(recursive=True)]
        for each in postgres:
            each.send_signal(signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "productsearch_engine", "doctor", "--json", "--limit", "3"],
                env={**os.environ, "PRODUCTSEARCH_ENGINE_DATA": str(engine.data)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert time.monotonic() - began_s < MANY * 3
        finally:
            for each in postgres:
                each.send_signal(signal.SIGCONT)
    assert done.returncode in (2, 3), done.stderr  # 2: of other checks, if memory is scarce
    states = {each["code"]: each["state"] for each in json.loads(done.stdout)["checks"]}
    assert "unknown" == states[database.ANSWERS]


def test_what_does_not_end_is_no_sign(
    chosen: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check that did not end says what it waits for; exit 3: not all was found out."""
    ends = Event()

    def hangs(_: Settings) -> Finding:
        ends.wait(60)
        raise AssertionError

    checks: dict[str, Callable[[Settings], Finding]] = {"data.disk": hangs}
    monkeypatch.setattr(machine, "CHECKS", checks)
    found = {each.code: each for each in command.diagnose(chosen, 0.2)}
    ends.set()
    assert "unknown" == found["data.disk"].state
    assert 3 == exit_code([*found.values()])
    assert "look at the volume of DATA" in found["data.disk"].remedy


def test_the_age_of_a_process() -> None:
    """With the start of its interpreter; it is a part of the limit."""
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        time.sleep(0.5)
        found_s = age.of_process_s(other.pid)
        other.kill()
    assert 0.4 <= found_s <= MANY
