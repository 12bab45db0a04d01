"""A database that stands still: every wait for it ends, it is known to be down, and restarted."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import psycopg
import pytest
import requests

from demo.processes import Engine
from productsearch_engine.database.bounded import BoundedConnection, NoAnswerError
from productsearch_engine.database.pool import DatabaseDownError, WatchedPool
from productsearch_engine.database.watch import Watch
from tests.engine.calling import Caller, code_of
from tests.engine.copies import Template, copied
from tests.engine.databases import children, one_postgresql, postmaster
from tests.engine.image_files import jpeg

STATEMENTS: dict[str, Callable[[BoundedConnection], object]] = {
    "execute": lambda connection: connection.execute("select 1"),
    "with values": lambda connection: connection.execute("select %s", [1], prepare=True),
    "commit": lambda connection: connection.commit(),
    "rollback": lambda connection: connection.rollback(),
    "many": lambda connection: connection.cursor().executemany("select %s", [[1], [2]]),
    "stream": lambda connection: list(connection.cursor().stream("select 1")),
    "copy": lambda connection: connection.cursor().copy("copy (select 1) to stdout").__enter__(),
}


@contextmanager
def stopped(*processes: int) -> Iterator[None]:
    """Let processes stand still."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


@one_postgresql
@pytest.mark.parametrize("kind", sorted(STATEMENTS))
def test_every_statement_ends(engine: Engine, kind: str) -> None:
    """Whatever waits for a backend that stands still ends at the limit with a closed connection."""
    host = (engine.data / "postgres" / "postmaster.pid").read_text().splitlines()[4]
    with BoundedConnection.connect(f"host={host} user=postgres") as connection:
        connection.execute("select 1")
        connection.limit_s = 0.3
        with stopped(connection.info.backend_pid), pytest.raises(NoAnswerError):
            STATEMENTS[kind](connection)
        assert connection.closed


@one_postgresql
def test_a_wait_ends_when_the_database_is_given_up(engine: Engine) -> None:
    """A statement under way ends as soon as waiting on is useless."""
    host = (engine.data / "postgres" / "postmaster.pid").read_text().splitlines()[4]
    with BoundedConnection.connect(f"host={host} user=postgres") as connection:
        connection.limit_s = 3600
        connection.given_up = lambda: True
        with stopped(connection.info.backend_pid), pytest.raises(NoAnswerError):
            connection.execute("select 1")


@one_postgresql
def test_an_answer_in_time_is_an_answer(engine: Engine) -> None:
    """A statement that takes its time below the limit is not cut, and errors stay what they are."""
    host = (engine.data / "postgres" / "postmaster.pid").read_text().splitlines()[4]
    answers: list[int] = []
    with BoundedConnection.connect(f"host={host} user=postgres") as connection:
        connection.answered = lambda: answers.append(1)
        assert [("",)] == connection.execute("select pg_sleep(0.5)").fetchall()
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1 / 0")
        connection.rollback()
    assert answers


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts and says nothing; its DSN."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"host=127.0.0.1 port={server.getsockname()[1]} user=x"


def test_a_silent_database_is_known(silent: str) -> None:
    """A server that accepts and says nothing is down, and the pool hands out nothing."""
    watch = Watch(silent)
    watch.start()
    try:
        _until(lambda: watch.is_down)
        pool = WatchedPool(silent, watch, 1)
        with pytest.raises(DatabaseDownError):
            pool.getconn()
        _until(watch.has_given_up)
        watch.note_answer()
        assert not watch.is_down
    finally:
        watch.stop()


@one_postgresql
def test_a_command_waits_for_a_database_that_is_late(engine: Engine, silent: str) -> None:
    """Its work is not lost to a machine so busy that the database answers late; a call fails."""
    host = (engine.data / "postgres" / "postmaster.pid").read_text().splitlines()[4]
    dsn = f"host={host} user=postgres"
    watch = Watch(silent)
    answered = threading.Event()

    def answer() -> None:
        while not answered.wait(0.05):
            watch.note_answer()

    with WatchedPool(dsn, watch, 1) as calls, WatchedPool(dsn, watch, 1, 60) as commands:
        calls.wait()
        commands.wait()
        watch.start()
        late = threading.Timer(1, answer)
        try:
            _until(lambda: watch.is_down)
            with pytest.raises(DatabaseDownError):
                calls.getconn()
            late.start()
            with commands.connection() as connection:
                assert (1,) == connection.execute("select 1").fetchone()
        finally:
            answered.set()
            late.join()
            watch.stop()


def test_an_answer_to_others_counts(silent: str) -> None:
    """A database that answered somebody while it was asked is not down."""
    watch = Watch(silent)
    watch.start()
    try:
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            watch.note_answer()
            assert not watch.is_down
            time.sleep(0.05)
    finally:
        watch.stop()


@contextmanager
def delayed(engine: Engine, is_over: threading.Event) -> Iterator[str]:
    """A way to the engine's database whose first bytes wait for an event; its DSN."""
    host = (engine.data / "postgres" / "postmaster.pid").read_text().splitlines()[4]

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        client, _ = server.accept()
        is_over.wait(30)
        with client, socket.socket(socket.AF_UNIX) as behind:
            behind.connect(f"{host}/.s.PGSQL.5432")
            back = threading.Thread(target=pass_on, args=(behind, client))
            back.start()
            pass_on(client, behind)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve)
        serving.start()
        port = server.getsockname()[1]
        yield f"host=127.0.0.1 port={port} user=postgres sslmode=disable gssencmode=disable"
        serving.join(30)


@one_postgresql
def test_a_late_answer_is_no_trouble_told(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A first answer that takes longer than one may is waited for, and the log has nothing."""
    is_over = threading.Event()
    with delayed(engine, is_over) as dsn:
        watch = Watch(dsn)
        watch.start()
        try:
            _until(lambda: watch.is_down)
            is_over.set()  # before psycopg gives up, a second later
            _until(lambda: not watch.is_down)
        finally:
            watch.stop()
    assert [] == caplog.messages


def _until(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not reached() and time.monotonic() < ends:
        time.sleep(0.05)
    assert reached()


def health(engine: Engine) -> int:
    """Return the status of the health endpoint."""
    return requests.get(engine.url + "/healthz", timeout=30).status_code


def test_calls_while_the_database_stands_still(template: Template) -> None:
    """Calls get code 2, tokens HTTP 500, health 503; all is as before once it goes on."""
    with copied(template) as engine:
        caller = Caller(engine.url, *template.keys)
        assert 0 == code_of(caller.call("add", image=jpeg(1), brief="x"))
        server = postmaster(engine)
        with stopped(server, *children(server)):
            _until(lambda: health(engine) == 503)
            assert 2 == code_of(caller.call("search", image=jpeg(1)))
            assert 2 == code_of(caller.call("add", image=jpeg(2), brief="x"))
            assert 500 == caller.ask_token().status_code
        _until(lambda: health(engine) == 200)
        _until(lambda: 0 == code_of(caller.call("search", image=jpeg(1))))
        assert 0 == code_of(caller.call("add", image=jpeg(2), brief="x"))
        caller.close()


@pytest.mark.slow
@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_postgresql_that_is_wedged_before_the_start(template: Template, all_of_it: bool) -> None:
    """An engine that finds a PostgreSQL which answers nobody kills it, and starts its own."""
    with copied(template) as engine:
        caller = Caller(engine.url, *template.keys)
        assert 0 == code_of(caller.call("add", image=jpeg(1), brief="x"))
        caller.close()
        before = postmaster(engine)
        engine.kill()
        for process in (before, *(children(before) if all_of_it else [])):
            os.kill(process, signal.SIGSTOP)
        try:
            engine.start()
            assert before != postmaster(engine)
        finally:
            if psutil.pid_exists(before):
                os.kill(before, signal.SIGKILL)
        caller = Caller(engine.url, *template.keys)
        assert 216681 == code_of(caller.call("add", image=jpeg(1), brief="x"))
        assert "accepts connections and answers nothing; starting it again" in engine.log()
        caller.close()


@pytest.mark.slow
@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_wedged_postgresql_is_restarted(template: Template, all_of_it: bool) -> None:
    """A PostgreSQL that accepts connections and answers none is killed and started again."""
    with copied(template) as engine:
        caller = Caller(engine.url, *template.keys)
        assert 0 == code_of(caller.call("add", image=jpeg(1), brief="x"))
        before = postmaster(engine)
        for process in (before, *(children(before) if all_of_it else [])):
            os.kill(process, signal.SIGSTOP)

        def restarted() -> bool:
            try:
                return postmaster(engine) != before and health(engine) == 200
            except (OSError, IndexError):
                return False

        _until(restarted)
        _until(lambda: 0 == code_of(caller.call("search", image=jpeg(1))))
        assert 216681 == code_of(caller.call("add", image=jpeg(1), brief="x"))
        assert "accepts connections and answers nothing; starting it again" in engine.log()
        caller.close()
