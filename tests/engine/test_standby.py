"""A database that takes no changes, as after a failover to a standby: code 2, then as before."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from demo.processes import Engine
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.database.programs import Programs
from tests.engine.calling import Caller, code_of
from tests.engine.copies import Template, copied
from tests.engine.databases import connected, one_postgresql
from tests.engine.image_files import jpeg


def test_a_standby(template: Template) -> None:
    """Changes are code 2, searches and tokens go on; once it takes changes again, all do."""
    with copied(template) as engine:
        caller = Caller(engine.url, *template.keys)
        sign = caller.call("add", image=jpeg(1), brief="one")["cont_sign"]
        for setting, changed in (("on", 2), ("off", 0)):
            with connected(engine) as database:
                database.execute(f"alter system set default_transaction_read_only = {setting}")
                database.execute("select pg_reload_conf()")
            for _ in range(100):  # the reload is seen by each connection at its next statement
                told = code_of(caller.call("update", cont_sign=sign, brief="two"))
                if told == changed:
                    break
            assert changed == told
            assert changed == code_of(caller.call("add", image=jpeg(2), brief="two"))
            assert 0 == code_of(caller.call("search", image=jpeg(1)))
            assert 200 == caller.ask_token().status_code
        caller.close()
        engine.stop()
        assert "Traceback" not in engine.log()


PASSING = ("25006", "25P03", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03", "58030")


@pytest.mark.parametrize("state", [*PASSING, "72000"])
def test_what_passes_is_unavailable(state: str) -> None:
    """What a database says of itself in a failover or under load is code 2, never 282000."""
    assert 2 == api_error(psycopg.errors.lookup(state)("x"), 1).code


@pytest.mark.slow
@one_postgresql
def test_a_failover(template: Template, standby_folder: Path) -> None:
    """One engine searches on a standby all along; one goes on with it once it is promoted.

    Everything that was acknowledged, and had reached the standby, is there.
    """
    with copied(template) as primary:
        host, programs = _host(primary), Programs(primary.data / "log")
        data = standby_folder / "data"
        programs.run("pg_basebackup", "-h", host, "-U", "postgres", "-D", str(data), "-R")
        ctl = ("-D", str(data), "-w", "-l", str(standby_folder / "log"))
        programs.run("pg_ctl", "start", *ctl, "-o", f"-k {standby_folder}")
        key = {"PRODUCTSEARCH_ENGINE_SIGNING_KEY_FILE": str(primary.data / "signing.key")}
        of = "user=postgres dbname=postgres"
        both = f"host={host},{standby_folder} {of} target_session_attrs=read-write"
        try:
            with (
                Engine(environment=key | {_DATABASE: f"host={standby_folder} {of}"}) as searching,
                Engine(environment=key | {_DATABASE: both}) as following,
            ):
                there, moving = (
                    Caller(each.url, *template.keys) for each in (searching, following)
                )
                for seed in range(5):
                    assert 0 == code_of(moving.call("add", image=jpeg(seed), brief=str(seed)))
                _until(lambda: 5 == there.call("search", image=jpeg(0))["result_num"])
                assert 2 == code_of(there.call("add", image=jpeg(9), brief="x"))
                # As after a crash of its machine: nothing begins there again.
                primary.kill()
                programs.run(
                    "pg_ctl", "stop", "-D", str(primary.data / "postgres"), "-m", "immediate"
                )
                assert 5 == there.call("search", image=jpeg(0))["result_num"]
                programs.run("pg_ctl", "promote", "-D", str(data), "-w")
                _until(lambda: 0 == code_of(there.call("add", image=jpeg(10), brief="x")))
                _until(lambda: 0 == code_of(moving.call("add", image=jpeg(11), brief="x")))
                for caller in (there, moving):
                    assert 7 == caller.call("search", image=jpeg(0))["result_num"]
                    assert 216681 == code_of(caller.call("add", image=jpeg(3), brief="x"))
                    caller.close()
                assert "Traceback" not in searching.log() + following.log()
        finally:
            programs.run("pg_ctl", "stop", "-D", str(data), "-m", "immediate")


_DATABASE = "PRODUCTSEARCH_ENGINE_DATABASE"


@pytest.fixture
def standby_folder() -> Iterator[Path]:
    """A folder with a short name, for a socket, that belongs to PostgreSQL's account."""
    with tempfile.TemporaryDirectory(prefix="standby-", dir="/tmp") as name:
        folder = Path(name)
        Programs(folder / "programs.log").give(folder)
        folder.chmod(0o755)
        yield folder


def _host(engine: Engine) -> str:
    with connected(engine) as connection:
        return connection.info.host


def _until(is_so: Callable[[], bool], within_s: float = 60) -> None:
    ends_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.2)
