"""What the engine's log says of a database: causes in words, no names of exceptions, no secrets."""

from __future__ import annotations

import logging
import re
import time

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from demo.processes import Engine
from productsearch_engine import logs
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.database import migrate
from productsearch_engine.database.bounded import NoAnswerError
from productsearch_engine.database.cause import cause_of, place_of, words_of
from productsearch_engine.database.pool import DatabaseDownError
from productsearch_engine.database.watch import Watch
from productsearch_engine.limits import DATABASE_PROBE_S
from tests.engine.databases import connected

SECRET = "dbsecret4711"
NAME = re.compile(r"[A-Za-z]+(Error|Timeout|Exception)\b|Operational")
FAILURES = [
    DatabaseDownError("the database does not answer"),
    NoAnswerError("the database did not answer in time"),
    psycopg.OperationalError(f"connection to host=h password={SECRET} failed: Connection refused"),
    psycopg.OperationalError(f"server closed the connection, password={SECRET}"),
    psycopg.errors.TooManyConnections("x"),
    psycopg.errors.QueryCanceled("x"),
    psycopg.errors.ReadOnlySqlTransaction("x"),
    PoolTimeout("couldn't get a connection after 3.00 sec"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_every_failure_has_words(error: Exception) -> None:
    """Enough of them to act on, and nothing of what psycopg says."""
    told = words_of(error)
    assert len(told.split()) >= 5
    assert SECRET not in told
    assert not NAME.search(told)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('FATAL:  database "noconn" is not currently accepting connections', "allow_connections"),
        ('FATAL:  unrecognized configuration parameter "nope"', "correct them"),
        ('FATAL:  invalid value for parameter "work_mem": "x"', "correct them"),
        ("server is not in hot standby mode", "target_session_attrs"),
        ('connection is bad: invalid sslmode value: "maybe"', "correct sslmode in DATABASE"),
        ("connection is bad: GSSAPI encryption required but no credential cache", "gssencmode"),
        ("could not match 2 port numbers to 1 hosts", "one port, or one for each"),
        ("server does not support SSL, but SSL was required", "sslmode"),
    ],
)
def test_what_libpq_says_leads_to_the_part_that_is_wrong(said: str, told: str) -> None:
    """Not to a server that was never asked, or that runs well."""
    cause = cause_of(psycopg.OperationalError(said), "host=db.example")
    assert told in cause
    assert "a server runs there" not in cause


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (psycopg.errors.DuplicateTable("x"), "a database of its own"),
        (psycopg.errors.InvalidSchemaName("x"), "search_path"),
        (psycopg.errors.QueryCanceled("due to statement timeout"), "statement_timeout"),
        (psycopg.errors.AdminShutdown("x"), "it is being stopped, or somebody ended the session"),
        (psycopg.errors.CrashShutdown("x"), "crashed or was killed"),
        (psycopg.errors.DeadlockDetected("x"), "try again"),
        (psycopg.errors.LockNotAvailable("x"), "in use by somebody else"),
        (psycopg.errors.OutOfMemory("x"), "no memory left"),
        (psycopg.errors.UndefinedTable("x does not exist"), "SQLSTATE 42P01"),
    ],
)
def test_states_of_a_server_have_a_remedy(error: psycopg.Error, told: str) -> None:
    """Its words say less than its state: what does not exist is no user and no database."""
    assert told in cause_of(error, "host=db.example")
    assert told in words_of(error)


@pytest.mark.parametrize("password", [f"a#b/{SECRET}", f"{SECRET}/x", f"x/y@{SECRET}"])
def test_a_password_that_breaks_a_url_is_not_told(password: str) -> None:
    """libpq takes a part of it for the port, or for the name of the database."""
    dsn = f"postgresql://u:{password}@db.example:5432/shop"
    cause = cause_of(psycopg.OperationalError("failed to resolve host 'u'"), dsn)
    assert SECRET not in cause + place_of(dsn)
    assert "%2F" in cause
    assert "db.example port 5432 database shop" == place_of(
        "postgresql://u:a%2Fb%40c@db.example:5432/shop"
    )


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (9999, "a newer engine has migrated it, to 9999; this one knows migrations up to"),
        (
            20_240_101_010_101,
            "another program's (it has 20240101010101): give the engine a database",
        ),
    ],
)
def test_another_schema_is_told_from_a_newer_one(version: int, told: str, engine: Engine) -> None:
    """Other programs have a table of this name, too; no engine to upgrade to would read theirs."""
    with connected(engine) as connection:
        connection.execute("set search_path = pg_temp")
        connection.execute("create temporary table schema_migrations (version text)")
        connection.execute("insert into schema_migrations values (%s)", [str(version)])
        with pytest.raises(migrate.SchemaTooNewError, match=re.escape(told)):
            migrate.apply(connection)


def test_the_line_of_a_call_has_them(caplog: pytest.LogCaptureFixture) -> None:
    """With the call's number."""
    api_error(FAILURES[0], 4711)
    assert ["log_id=4711 database: " + words_of(FAILURES[0])] == caplog.messages


def test_the_watch_tells_place_cause_and_remedy(caplog: pytest.LogCaptureFixture) -> None:
    """Once, as the state changes."""
    watch = Watch(f"host=127.0.0.1 port=9 user=u password={SECRET} dbname=shop")
    watch.start()
    ends_s = time.monotonic() + 20
    while not caplog.messages and time.monotonic() < ends_s:
        time.sleep(0.05)
    time.sleep(2 * DATABASE_PROBE_S)
    watch.stop()
    (told,) = caplog.messages
    place = "127.0.0.1 port 9 database shop: nothing accepts connections there"
    assert f"the database does not answer: {place}: start it, or correct DATABASE" == told


def test_times_have_their_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the facade's: one format for whoever reads both."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    try:
        logs.start("info")
        (handler,) = root.handlers
        line = handler.format(logging.makeLogRecord({"msg": "m", "levelname": "INFO"}))
    finally:
        root.setLevel(level)
        logging.captureWarnings(False)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} INFO ", line)
