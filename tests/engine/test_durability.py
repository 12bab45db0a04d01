"""What was acknowledged stays: over restarts, kills of the engine, kills of PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from demo.processes import Engine
from tests.engine.calling import Caller, code_of
from tests.engine.copies import Template, copied
from tests.engine.databases import connected, one_postgresql, postmaster
from tests.engine.image_files import jpeg


@pytest.fixture
def own_engine(template: Template) -> Iterator[Engine]:
    """An engine that the test may stop and kill."""
    with copied(template) as running:
        yield running


@pytest.fixture
def keys(template: Template) -> tuple[str, str]:
    """The key pair of the library in ``own_engine``."""
    return template.keys


def fill(engine: Engine, keys: tuple[str, str]) -> None:
    """Add three images; update one and delete one of them."""
    caller = Caller(engine.url, *keys)
    for seed in range(3):
        body = caller.call("add", image=jpeg(seed), brief=f"b{seed}", class_id1="5", class_id2="6")
        assert 0 == code_of(body)
    assert 0 == code_of(caller.call("update", image=jpeg(1), brief="new", class_id2="7"))
    assert 0 == code_of(caller.call("delete", image=jpeg(2)))
    caller.close()


def check_kept(engine: Engine, keys: tuple[str, str]) -> None:
    """Check that what ``fill`` left is there, and that duplicates are still known."""
    caller = Caller(engine.url, *keys)
    for seed, brief, class_id2 in ((0, "b0", "6"), (1, "new", "7")):
        found = caller.call("search", image=jpeg(seed), class_id1="5", class_id2=class_id2)
        assert [brief] == [hit["brief"] for hit in found["result"]]
        assert pytest.approx(1, abs=1e-3) == found["result"][0]["score"]
        assert 216681 == code_of(caller.call("add", image=jpeg(seed), brief="x"))
    assert 2 == caller.call("search", image=jpeg(0))["result_num"]
    caller.close()


@pytest.mark.slow
def test_restart(own_engine: Engine, keys: tuple[str, str]) -> None:
    """Stopping engine and PostgreSQL and starting them keeps images, briefs and classes."""
    fill(own_engine, keys)
    assert 0 == own_engine.stop()
    assert not (own_engine.data / "postgres" / "postmaster.pid").exists()
    own_engine.start()
    check_kept(own_engine, keys)


def test_kill_of_the_engine(own_engine: Engine, keys: tuple[str, str]) -> None:
    """After kill -9 of the engine the next one works, with all that was acknowledged."""
    fill(own_engine, keys)
    own_engine.kill()
    own_engine.start()
    check_kept(own_engine, keys)
    assert 0 == own_engine.stop()
    assert not (own_engine.data / "postgres" / "postmaster.pid").exists()


@pytest.mark.slow
def test_kill_of_everything(own_engine: Engine, keys: tuple[str, str]) -> None:
    """After kill -9 of engine and PostgreSQL nothing acknowledged is lost."""
    fill(own_engine, keys)
    own_engine.kill()
    os.kill(postmaster(own_engine), signal.SIGKILL)
    own_engine.start()
    check_kept(own_engine, keys)


@pytest.mark.slow
def test_kill_of_postgresql(own_engine: Engine, keys: tuple[str, str]) -> None:
    """A PostgreSQL that dies under the engine is started again; until then answers are code 2."""
    fill(own_engine, keys)
    caller = Caller(own_engine.url, *keys)
    os.kill(postmaster(own_engine), signal.SIGKILL)
    codes: list[int] = []
    ends = time.monotonic() + 60
    while not codes or (codes[-1] and time.monotonic() < ends):
        codes.append(code_of(caller.call("search", image=jpeg(0))))
    assert 0 == codes[-1]
    assert {0, 2} >= set(codes)
    check_kept(own_engine, keys)
    caller.close()


def test_adds_while_the_engine_is_killed(own_engine: Engine, keys: tuple[str, str]) -> None:
    """Every add that was answered before a kill -9 in the middle of many is there after it."""
    acknowledged: list[str] = []

    def add(first: int) -> None:
        caller = Caller(own_engine.url, *keys)
        try:
            for seed in range(first, first + 1000):
                acknowledged.append(caller.call("add", image=jpeg(seed), brief="x")["cont_sign"])
        except requests.ConnectionError:
            pass
        finally:
            caller.close()

    adders = [threading.Thread(target=add, args=(first,)) for first in (0, 1000, 2000)]
    for adder in adders:
        adder.start()
    while len(acknowledged) < 30:
        time.sleep(0.01)
    database = postmaster(own_engine)
    own_engine.kill()
    os.kill(database, signal.SIGKILL)
    for adder in adders:
        adder.join()
    own_engine.start()
    caller = Caller(own_engine.url, *keys)
    found = caller.call("search", image=jpeg(0), rn="1000")["result"]
    assert set(acknowledged) <= {hit["cont_sign"] for hit in found}
    caller.close()


def test_commands_do_not_stop_postgresql(own_engine: Engine) -> None:
    """A command's end leaves PostgreSQL to the engine, and an engine's end to another one."""
    before = postmaster(own_engine)
    own_engine.command("library", "list")
    assert before == postmaster(own_engine)
    second = Engine(own_engine.data)
    second.start()
    assert before == postmaster(own_engine)
    own_engine.stop()
    assert before == postmaster(second)
    assert 200 == requests.get(second.url + "/healthz", timeout=30).status_code
    second.stop()
    assert not (own_engine.data / "postgres" / "postmaster.pid").exists()


def test_stale_process_id(own_engine: Engine, keys: tuple[str, str]) -> None:
    """Lock files that name another living process do not stop PostgreSQL from starting."""
    fill(own_engine, keys)
    cluster = own_engine.data / "postgres"
    names = ("postmaster.pid", ".s.PGSQL.5432.lock")
    left = {name: (cluster / name).read_text().splitlines()[1:] for name in names}
    own_engine.stop()
    # Of PostgreSQL's own account: it takes a stranger's process for no server by itself.
    account = cluster.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "600"], user=account) as stranger:
        for name, lines in left.items():
            (cluster / name).write_text("\n".join([str(stranger.pid), *lines]) + "\n")
        own_engine.start()
        check_kept(own_engine, keys)
        stranger.kill()


@one_postgresql
def test_postgresql_is_durable_and_private(engine: Engine) -> None:
    """Commits reach the disk, and there is a socket for its own account but no port."""
    with connected(engine) as connection:
        for name, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
        }.items():
            row = connection.execute("select current_setting(%s)", [name]).fetchone()
            assert (value,) == row
    assert 0o600 == (engine.data / "signing.key").stat().st_mode & 0o777
    assert 0o700 == (engine.data / "postgres").stat().st_mode & 0o777


def test_long_data_directory(template: Template) -> None:
    """A data directory whose path is too long for a socket works all the same."""
    with copied(template, below=f"{'d' * 60}/{'e' * 60}") as engine:
        assert not (engine.data / "postgres" / ".s.PGSQL.5432").exists()
        fill(engine, template.keys)
        check_kept(engine, template.keys)


def test_graceful_stop(own_engine: Engine, keys: tuple[str, str]) -> None:
    """A call that the engine has begun to read when SIGTERM arrives is answered before the end."""
    fill(own_engine, keys)
    caller = Caller(own_engine.url, *keys)
    codes: list[int] = []
    started = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"cont_sign=1,2"
        started.set()
        time.sleep(1.5)
        yield b"&brief=x"

    call = threading.Thread(
        target=lambda: codes.append(code_of(caller.answer("update", data=body())))
    )
    call.start()
    started.wait()
    time.sleep(0.5)  # sent is not yet read
    assert 0 == own_engine.stop()
    call.join()
    assert [216680] == codes
    caller.close()


def test_calls_that_have_come_before_sigterm(own_engine: Engine, keys: tuple[str, str]) -> None:
    """Calls that wait unread in their sockets when SIGTERM arrives are answered before the end."""
    callers = [Caller(own_engine.url, *keys) for _ in range(8)]
    for caller in callers:
        assert 216680 == code_of(caller.call("update", cont_sign="1,2", brief="x"))
    own_engine.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(len(callers)) as threads:
        calls = [
            threads.submit(caller.call, "update", cont_sign="1,2", brief="x") for caller in callers
        ]
        time.sleep(0.5)  # all are sent
        own_engine.send_signal(signal.SIGTERM)
        own_engine.send_signal(signal.SIGCONT)
        assert [216680] * len(callers) == [code_of(call.result()) for call in calls]
    assert 0 == own_engine.wait()
    for caller in callers:
        caller.close()


def test_log_tells_no_secrets(template: Template) -> None:
    """Even at level debug neither keys, tokens, images nor briefs are in the log."""
    with copied(template, environment={"PRODUCTSEARCH_ENGINE_LOG_LEVEL": "debug"}) as engine:
        keys = engine.create_library("secret")
        caller = Caller(engine.url, *keys)
        caller.call("add", image=jpeg(1), brief="the-secret-brief")
        caller.answer("add", token=caller.token + "x", data={"brief": "x"})
        caller.call("search", url="http://user:password@127.0.0.1/")
        caller.ask_token(client_secret=keys[1] + "x")
        engine.stop()
        log = engine.log()
        for secret in (*keys, caller.token, "the-secret-brief", "password", "access_token"):
            assert secret not in log
        assert '"method":"add","library":"secret","code":0,' in log
        key = (engine.data / "signing.key").read_text()
        assert key not in log
        caller.close()
