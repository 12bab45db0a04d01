"""What the engine's log says of a database: causes in words, no names of exceptions, no secrets."""

from __future__ import annotations

import logging
import re
import time

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from productsearch_engine import logs
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.database.bounded import NoAnswerError
from productsearch_engine.database.cause import words_of
from productsearch_engine.database.pool import DatabaseDownError
from productsearch_engine.database.watch import Watch
from productsearch_engine.limits import DATABASE_PROBE_S

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
