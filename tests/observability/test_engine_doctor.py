"""The engine's doctor, beside a real engine and over real PostgreSQL, broken and well."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database import inspection
from productsearch_engine.database.cause import cause_of
from productsearch_engine.database.inspection import Facts, Index
from productsearch_engine.limits import EF_CONSTRUCTION
from productsearch_engine.server.doctor import command, database, finding, machine
from productsearch_engine.server.doctor.finding import Finding
from productsearch_engine.settings import Settings
from tests.engine.databases import connected
from tests.observability.collector import Collector
from tests.ports import free_port

PAGE = Path(__file__).resolve().parents[2] / "docs/operating.md"
SECRET = "a-password-of-the-doctors"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine of their own: the doctor judges all its libraries, and other tests break theirs."""
    with Engine() as running:
        yield running


@pytest.fixture(scope="module")
def chosen(engine: Engine) -> Settings:
    """The settings of the run's engine."""
    engine.create_library("for-the-doctor")
    flags = {"data": str(engine.data), "listen": urlsplit(engine.url).netloc}
    return settings.load({}, flags)


@pytest.fixture(scope="module")
def facts(chosen: Settings) -> Facts:
    """What is found in its database."""
    dsn = inspection.embedded_dsn(chosen.data)
    assert dsn is not None
    return inspection.inspect(dsn, math.inf)


def _not_well(findings: list[Finding]) -> dict[str, str]:
    return {each.code: each.state for each in findings if each.state not in ("ok", "skipped")}


def _database(chosen: Settings) -> dict[str, str]:
    return _not_well(database.checks(chosen, math.inf))


def test_all_is_well_beside_a_running_engine(engine: Engine, chosen: Settings) -> None:
    """The command itself: at least 20 codes, and exit 0."""
    done = subprocess.run(
        [sys.executable, "-m", "productsearch_engine", "doctor", "--json", "--limit", "60"],
        env={
            **os.environ,
            "PRODUCTSEARCH_ENGINE_DATA": str(engine.data),
            "PRODUCTSEARCH_ENGINE_LISTEN": f"{chosen.host}:{chosen.port}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert 20 <= len({each["code"] for each in told["checks"]})
    states = {each["code"]: each["state"] for each in told["checks"]}
    machines = {"machine.memory", "data.disk"}  # as this machine happens to be
    others = {code: state for code, state in states.items() if code not in machines}
    assert {"ok"} == {*others.values()}, others
    assert done.returncode == told["exit_code"]


@contextmanager
def _changed(engine: Engine, change: str, back: str) -> Iterator[None]:
    with connected(engine) as connection:
        connection.execute(change.encode())
        try:
            yield
        finally:
            connection.execute(back.encode())


def test_an_engine_that_should_run(chosen: Settings, tmp_path: Path) -> None:
    """None that answers is a warning where one was started before, or is expected; a folder that
    none was started in has nothing to warn of. The last line counts what was skipped."""
    port = free_port()
    gone, new = replace(chosen, port=port), replace(chosen, port=port, data=tmp_path / "new")

    def health(of: Settings, *, expected: bool) -> str:
        checks = machine.CHECKS | (machine.EXPECTING if expected else {})
        return checks["engine.health"](of).state

    assert ["warning", "warning", "skipped"] == [
        health(gone, expected=False),
        health(new, expected=True),
        health(new, expected=False),
    ]
    findings = command.diagnose(new, 30, expect_running=True)
    skipped = [each.state for each in findings].count("skipped")
    assert (1, True) == (finding.exit_code(findings), skipped > 0)
    assert finding.as_text(findings).splitlines()[-1].endswith(f", {skipped} skipped")


LIBRARY = "where name = 'for-the-doctor'"
NEAREST = """(select i.indexrelid from libraries l join pg_index i
    on i.indrelid = ('nearest_' || l.id)::regclass and not i.indisprimary
    where l.name = 'for-the-doctor')"""


@pytest.mark.parametrize(
    ("change", "back", "found"),
    [
        (
            f"update libraries set capacity = 1, image_count = 1 {LIBRARY}",
            f"update libraries set capacity = 500000, image_count = 0 {LIBRARY}",
            {"library.room": "broken", "library.count": "warning"},
        ),
        (
            f"update libraries set embedding = 'gone-1' {LIBRARY}",
            f"update libraries set embedding = 'compact-1' {LIBRARY}",
            {"library.embedding": "broken"},
        ),
        (
            f"update pg_index set indisvalid = false where indexrelid = {NEAREST}",
            f"update pg_index set indisvalid = true where indexrelid = {NEAREST}",
            {"index.valid": "warning", "index.present": "warning"},
        ),
        (
            "insert into reembeddings (library_id, embedding, dimensions)"
            f" select id, 'classic-1', 1 from libraries {LIBRARY}",
            f"delete from reembeddings where library_id = (select id from libraries {LIBRARY})",
            {"library.reembedding": "warning"},
        ),
        (
            "alter database postgres set default_transaction_read_only = on",
            "begin read write; alter database postgres reset default_transaction_read_only; commit",
            {"database.writable": "broken"},
        ),
        (
            "insert into schema_migrations values (9999, 'of a newer engine')",
            "delete from schema_migrations where version = 9999",
            {"database.schema": "broken"},
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else "+".join(value),
)
def test_what_is_wrong_in_the_database(
    change: str, back: str, found: dict[str, str], engine: Engine, chosen: Settings
) -> None:
    """Each fault has its code, and no other check calls it its own."""
    with _changed(engine, change, back):
        assert found == _database(chosen)
    assert {} == _database(chosen)


LARGE = Index(
    name="nearest_1_prefix_idx",
    valid=True,
    nearest=True,
    size_bytes=200 << 20,
    ef_construction=EF_CONSTRUCTION,
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"version": 130010}, {"database.version": "broken"}),
        ({"extension": ""}, {"database.extension": "broken"}),
        ({"extension": "0.7.4"}, {"database.extension": "broken"}),
        ({"transaction_age": 1_000_000_000}, {"database.wraparound": "warning"}),
        ({"connections": 99}, {"database.connections": "warning"}),
        ({"dead": {"images_1": (50_000, 40_000)}}, {"database.bloat": "warning"}),
        ({"indexes": (replace(LARGE, ef_construction=None),)}, {"index.links": "warning"}),
        ({"indexes": (replace(LARGE, ef_construction=64),)}, {"index.links": "warning"}),
        ({"indexes": (LARGE,)}, {}),
        ({"indexes": (replace(LARGE, nearest=False, ef_construction=None),)}, {}),
        ({"settings": {"fsync": 0}}, {"database.durable": "broken"}),
        ({"settings": {"full_page_writes": 0}}, {"database.durable": "broken"}),
        ({"settings": {"autovacuum": 0}}, {"database.vacuum": "warning"}),
        ({"settings": {"shared_buffers": 1 << 20}}, {"database.shared_buffers": "warning"}),
    ],
)
def test_what_is_made_of_facts(
    changes: dict[str, Any], found: dict[str, str], facts: Facts, chosen: Settings
) -> None:
    """What a test cannot do to a server that others use."""
    if "settings" in changes:
        changes = {"settings": {**facts.settings, **changes["settings"]}}
    changed = replace(facts, **changes)
    assert found == _not_well([judge(changed, chosen) for judge in database.JUDGES.values()])


def test_a_clock_that_is_wrong(facts: Facts, chosen: Settings) -> None:
    """The database's against this machine's."""
    late = replace(facts, now=facts.now - timedelta(hours=1))
    assert {"database.clock": "warning"} == _not_well(
        [database.JUDGES["database.clock"](late, chosen)]
    )


@pytest.mark.parametrize(
    ("dsn", "cause"),
    [
        ("host=127.0.0.1 port=9", "nothing accepts connections there"),
        ("host=none.invalid", "the host's name has no address"),
        ("host=/nowhere", "no server has its socket there"),
        (SECRET, "no libpq connection string"),
    ],
)
def test_a_database_that_cannot_be_used(dsn: str, cause: str, chosen: Settings) -> None:
    """Place and cause are told, the password never; what follows is skipped."""
    if dsn != SECRET:
        dsn += f" dbname=shop password={SECRET}"
    findings = database.checks(replace(chosen, database=dsn), math.inf)
    assert {"database.answers": "broken"} == _not_well(findings)
    told = finding.as_json(findings) + finding.as_text(findings)
    assert cause in told
    assert not re.search(f"{SECRET}|Error", told)


def test_a_command_tells_the_cause(engine: Engine) -> None:
    """No class of an exception: what was tried, and what to do."""
    done = subprocess.run(
        [sys.executable, "-m", "productsearch_engine", "library", "list"],
        env={
            **os.environ,
            "PRODUCTSEARCH_ENGINE_DATA": str(engine.data),
            "PRODUCTSEARCH_ENGINE_DATABASE": f"host=127.0.0.1 port=9 password={SECRET}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    assert "127.0.0.1 port 9 database default: nothing accepts connections there" in done.stderr
    assert not re.search(f"{SECRET}|Error", done.stderr)


@pytest.mark.parametrize("statement", ["create extension nonsense", "select 1 from nowhere"])
def test_words_of_a_server_are_not_repeated(statement: str, engine: Engine) -> None:
    """A state that is in no table is told by its number."""
    with connected(engine) as connection:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement.encode())
        told = cause_of(caught.value, "host=db.example password=x")
    assert told.startswith("db.example port 5432 database default: ")
    assert "nowhere" not in told
    assert "nonsense" not in told


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("dbname=x", "db.example port 9 database x: "),
        ("host=other.example", "other.example port 9 database default: "),
        ("host=127.0.0.1 port=99999", "127.0.0.1 port 99999 database default: the port must be"),
        ("host=127.0.0.1 port=abc", "127.0.0.1 port abc database default: the port must be"),
    ],
)
def test_what_libpq_chooses_is_told(
    dsn: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PGHOST, PGPORT and services have a say, and no server is blamed that nobody asked."""
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGPORT", "9")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "none"))
    with pytest.raises(psycopg.Error) as caught:
        psycopg.connect(f"{dsn} connect_timeout=2")
    assert cause_of(caught.value, dsn).startswith(says)


def _machine(code: str, chosen: Settings, **changes: Any) -> str:
    return machine.CHECKS[code](replace(chosen, **changes)).state


def test_the_machine(chosen: Settings, tmp_path: Path) -> None:
    """A stranger's port, a key for everyone, no data directory, settings hardly meant."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        assert "broken" == _machine("listen.port", chosen, host="127.0.0.1", port=taken)
    assert "warning" == _machine("listen.plaintext", chosen, host="0.0.0.0")
    assert "warning" == _machine("urls.private", chosen, allow_private_urls=True)
    assert "broken" == _machine("embedding.default", chosen, embedding="none")
    assert "warning" == _machine("machine.memory", chosen, decoders=10_000)
    key = tmp_path / "key"
    assert "broken" == _machine("key.file", chosen, signing_key_file=key)
    key.write_bytes(b"x" * 32)
    key.chmod(0o644)
    assert "warning" == _machine("key.file", chosen, signing_key_file=key)
    key.write_bytes(b"short")
    assert "broken" == _machine("key.file", chosen, signing_key_file=key)
    assert "warning" == _machine("key.shared", chosen, database="host=other")
    assert "broken" == _machine("data.folder", chosen, data=key)
    assert "ok" == _machine("data.folder", chosen, data=tmp_path / "new" / "deep")


def test_a_stopped_engine(chosen: Settings, tmp_path: Path) -> None:
    """Its embedded PostgreSQL does not run, which is no fault; nothing is started or made."""
    stopped = replace(chosen, data=tmp_path / "new")
    assert {"skipped"} == {each.state for each in database.checks(stopped, math.inf)}
    assert [] == [*tmp_path.iterdir()]


def test_a_check_that_hangs_ends_alone(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told; so is one that fails in an unforeseen way."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} sslmode=disable"
        monkeypatch.setitem(machine.CHECKS, "data.disk", lambda _: 1 / 0)
        findings = command.diagnose(replace(chosen, database=dsn), limit_s=1.5)
    states = {each.code: each.state for each in findings}
    assert ("unknown", "broken") == (states["database.answers"], states["data.disk"])
    assert "ok" == states["data.folder"]


def test_an_engine_that_hangs(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts connections and answers nothing: told as that, and nothing else is held up.

    Before it had long enough to answer, nothing is known of it.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        busy = replace(chosen, port=silent.getsockname()[1])
        short = {each.code: each.state for each in command.diagnose(busy, limit_s=1.0)}
        monkeypatch.setattr(machine, "SIGN_S", 0.3)
        found = command.diagnose(busy, limit_s=30)
    told = {each.code: each for each in found}
    for code in ("listen.port", "engine.health"):
        assert "unknown" == short[code]
        assert "answers nothing" in told[code].evidence
        assert "broken" == told[code].state
    assert "ok" == told["data.folder"].state


def test_the_collector_of_traces(chosen: Settings) -> None:
    """One that takes spans is well; one that is gone loses them."""
    assert "ok" == _machine("traces.collector", chosen)
    with Collector() as collector:
        assert "ok" == _machine("traces.collector", chosen, traces_endpoint=collector.url)
    assert "warning" == _machine("traces.collector", chosen, traces_endpoint=collector.url)


def test_the_page_has_each_code() -> None:
    """And none that does not exist."""
    table = PAGE.read_text("utf-8").partition("### What the engine's doctor checks")[2]
    told = re.findall(r"^\| `([a-z_.]+)` \|", table.partition("\n#")[0], re.MULTILINE)
    codes = ["settings.read", *machine.CHECKS, database.ANSWERS, *database.JUDGES]
    assert sorted(codes) == sorted(told)
