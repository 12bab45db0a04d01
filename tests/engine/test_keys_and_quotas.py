"""Key pairs that are changed, and calls that are bounded, over one engine and several."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine, ServerError
from productsearch_engine.api.auth import Tokens
from productsearch_engine.cli import main
from productsearch_engine.limits import LIBRARY_REMEMBERED_S
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.quotas import Bound, Quota, Quotas
from tests.engine.calling import Caller, code_of, signs_of
from tests.engine.databases import connected, settings_of
from tests.engine.image_files import jpeg
from tests.engine.test_libraries import listed

Command = Callable[..., str]
_UNKNOWN = {"cont_sign": "1,2", "brief": "x"}
"""An update that is answered 216680 if the call is admitted."""


def _name(pool: ConnectionPool[Any], caller: Caller) -> str:
    return next(each.name for each in Libraries(pool).list() if each.api_key == caller.api_key)


@pytest.fixture
def command(engine: Engine, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command about libraries without a process of its own, and returns what it prints."""

    def run(*arguments: str) -> str:
        with patch.dict(os.environ, settings_of(engine)):
            status = main(["library", *arguments, "--data", str(engine.data)])
        told = capsys.readouterr()
        if status:
            raise ServerError(told.err)
        return told.out

    return run


def test_a_changed_key_ends_its_tokens(
    engine: Engine, caller: Caller, command: Command, pool: ConnectionPool[Any]
) -> None:
    """The old secret is refused at once, an old token soon, and a new token works at once."""
    name = _name(pool, caller)
    assert 216680 == code_of(caller.call("update", **_UNKNOWN))
    made = json.loads(command("rotate-key", name, "--json"))
    assert caller.api_key == made["api_key"]
    assert made["secret_key"] != caller.secret_key
    assert 401 == caller.ask_token().status_code
    renewed = Caller(engine.url, caller.api_key, made["secret_key"])
    assert 216680 == code_of(renewed.call("update", **_UNKNOWN))
    time.sleep(LIBRARY_REMEMBERED_S)
    refused = caller.call("update", **_UNKNOWN)
    assert (110, "Access token invalid or no longer valid") == (
        refused["error_code"],
        refused["error_msg"],
    )
    assert 216680 == code_of(renewed.call("update", **_UNKNOWN))
    renewed.close()


def test_an_old_key_serves_as_long_as_was_said(
    engine: Engine, caller: Caller, command: Command, pool: ConnectionPool[Any]
) -> None:
    """Both secrets give tokens and both tokens count; then only the new ones do."""
    name = _name(pool, caller)
    assert 216680 == code_of(caller.call("update", **_UNKNOWN))
    made = json.loads(command("rotate-key", name, "--overlap", "3600", "--json"))
    renewed = Caller(engine.url, caller.api_key, made["secret_key"])
    late = Caller(engine.url, caller.api_key, caller.secret_key)
    time.sleep(LIBRARY_REMEMBERED_S)
    for each in (renewed, late, caller):
        assert 216680 == code_of(each.call("update", **_UNKNOWN))
    with connected(engine) as connection:
        connection.execute("update apps set old_until = now() where api_key = %s", [caller.api_key])
    time.sleep(LIBRARY_REMEMBERED_S)
    assert 401 == caller.ask_token().status_code
    for each in (late, caller):
        assert 110 == code_of(each.call("update", **_UNKNOWN))
    assert 216680 == code_of(renewed.call("update", **_UNKNOWN))
    renewed.close()
    late.close()


def test_a_second_change_ends_the_first_key(
    engine: Engine, caller: Caller, command: Command, pool: ConnectionPool[Any]
) -> None:
    """At most two keys serve at a time."""
    name = _name(pool, caller)
    second = json.loads(command("rotate-key", name, "--overlap", "60", "--json"))
    command("rotate-key", name, "--overlap", "60")
    assert 401 == caller.ask_token().status_code
    beside = Caller(engine.url, caller.api_key, second["secret_key"])
    assert 200 == beside.ask_token().status_code
    beside.close()


@pytest.mark.parametrize("seconds", ["-1", "86401", "soon", ""])
def test_an_overlap_that_cannot_be(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before anything is changed, with the bound."""
    with pytest.raises(SystemExit):
        main(["library", "rotate-key", "any", f"--overlap={seconds}"])
    assert "--overlap" in capsys.readouterr().err


def test_tokens_of_the_version_before_count(engine: Engine, pool: ConnectionPool[Any]) -> None:
    """They name no key, which stands for the one that was never changed."""
    made = Libraries(pool).create(
        "before", capacity=1, embedding="classic-1", dimensions=807, api_key=None
    )
    with connected(engine) as connection:
        row = connection.execute("select id from apps where api_key = %s", [made.api_key])
        (app_id,) = row.fetchone() or (0,)
    tokens = Tokens((engine.data / "signing.key").read_bytes())
    number = tokens.issue(app_id).split(".")[4].partition("-")[0]
    assert int(number) < 10**12, "as before"
    assert (app_id, 0) == tokens.session(tokens.issue(app_id))
    assert (app_id, 7) == tokens.session(tokens.issue(app_id, 7))


def test_rename(
    engine: Engine, caller: Caller, command: Command, pool: ConnectionPool[Any]
) -> None:
    """Calls go on, and nothing is found under the name of before."""
    name = _name(pool, caller)
    caller.call("add", image=jpeg(1), brief="x")
    command("rename", name, f"{name} anew")
    assert 1 == len(signs_of(caller.call("search", image=jpeg(1))))
    assert f"{name} anew" == _name(pool, caller)
    for arguments in ((name, "x"), (f"{name} anew", ""), ("nowhere", "x")):
        with pytest.raises(ServerError, match=r"no library|printable"):
            command("rename", *arguments)
    command("create", "taken", "--json")
    with pytest.raises(ServerError, match="exists"):
        command("rename", f"{name} anew", "taken")


def test_empty(engine: Engine, caller: Caller, command: Command, pool: ConnectionPool[Any]) -> None:
    """All images go with their copies; the library works on, and the same images can come again."""
    name = _name(pool, caller)
    for seed in range(3):
        caller.call("add", image=jpeg(seed), brief="x")
    with pytest.raises(ServerError, match="--yes"):
        command("empty", name)
    assert "3 images deleted" in command("empty", name, "--yes")
    known = listed(engine, caller)
    assert 0 == known["image_count"]
    with connected(engine) as connection:
        row = connection.execute(f"select count(*) from kept_{known['id']}".encode()).fetchone()
    assert (0,) == row
    assert [] == signs_of(caller.call("search", image=jpeg(1)))
    assert 0 == code_of(caller.call("add", image=jpeg(1), brief="x"))
    assert 1 == len(signs_of(caller.call("search", image=jpeg(1))))


def test_quotas_are_refused_as_upstream_does(
    engine: Engine, caller: Caller, command: Command, pool: ConnectionPool[Any]
) -> None:
    """17 for the day, 19 in all, without a log_id; off again, all calls pass."""
    name = _name(pool, caller)
    assert "any number" in command("quota", name)
    for bound, code, message in (
        ("--per-day", 17, "Open api daily request limit reached"),
        ("--in-total", 19, "Open api total request limit reached"),
    ):
        command("quota", name, bound, "3")
        time.sleep(LIBRARY_REMEMBERED_S)
        found = [caller.call("update", **_UNKNOWN) for _ in range(5)]
        assert [216680] * 3 + [code] * 2 == [code_of(answer) for answer in found]
        assert {"error_code": code, "error_msg": message} == found[-1]
        told = json.loads(command("quota", name, "--json"))
        assert (3, 3) == (told["today"], told["total"]), "what is refused is not counted"
        command("quota", name, bound, "none")
        time.sleep(LIBRARY_REMEMBERED_S)
        assert 216680 == code_of(caller.call("update", **_UNKNOWN))


def test_no_second_has_more_calls(
    engine: Engine, caller: Caller, pool: ConnectionPool[Any]
) -> None:
    """However many ask at once, a second has its calls and no more; the rest is error 18."""
    name = _name(pool, caller)
    Quotas(pool).bound(name, Quota(per_second=5, per_day=None, in_total=None))
    time.sleep(LIBRARY_REMEMBERED_S)
    callers = [Caller(engine.url, caller.api_key, caller.secret_key) for _ in range(4)]
    began = time.time()

    def call(each: Caller) -> list[int]:
        return [code_of(each.call("update", **_UNKNOWN)) for _ in range(30)]

    with ThreadPoolExecutor(4) as threads:
        codes = Counter(code for found in threads.map(call, callers) for code in found)
    seconds = int(time.time()) - int(began) + 1
    assert {216680, 18} == codes.keys()
    assert codes[216680] <= 5 * seconds
    assert 120 == codes.total()
    for each in callers:
        each.close()


def test_engines_share_a_quota(
    engine: Engine, new_caller: Callable[..., Caller], pool: ConnectionPool[Any]
) -> None:
    """Of calls that several engines count at the same time exactly so many pass as may."""
    name = _name(pool, new_caller())
    quotas = Quotas(pool)
    quotas.bound(name, Quota(per_second=None, per_day=None, in_total=50))
    with connected(engine) as connection:
        (app_id,) = connection.execute(
            "select app_id from libraries where name = %s", [name]
        ).fetchone() or (0,)
    with ThreadPoolExecutor(8) as threads:
        found = Counter(threads.map(quotas.take, [app_id] * 80))
    assert {None: 50, Bound.TOTAL: 30} == dict(found)
    assert 50 == quotas.of(name).total


def test_an_app_without_a_quota_is_not_counted(
    engine: Engine, caller: Caller, pool: ConnectionPool[Any]
) -> None:
    """By default nothing is written for a call that changes nothing."""
    name = _name(pool, caller)
    assert Quotas(pool).of(name).is_none
    caller.call("update", **_UNKNOWN)
    with connected(engine) as connection:
        row = connection.execute(
            "select count(*) from quotas q join libraries l using (app_id) where l.name = %s",
            [name],
        ).fetchone()
    assert (0,) == row


@pytest.mark.parametrize("arguments", [("nowhere",), ("nowhere", "--per-day", "3")])
def test_refused_quotas(command: Command, arguments: tuple[str, ...]) -> None:
    """A library has to be there."""
    with pytest.raises(ServerError, match="no library"):
        command("quota", *arguments)


def test_a_bound_is_a_positive_number(command: Command) -> None:
    """Wrong usage, before anything is asked."""
    for wrong in ("0", "-1", "x", str(2**31)):
        with pytest.raises(SystemExit):
            command("quota", "x", "--per-second", wrong)
