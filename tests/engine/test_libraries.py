"""Libraries by command: made once, grown, full, deleted, and never read by another model."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.processes import Engine, ServerError
from productsearch_engine import library_commands
from productsearch_engine.cli import main
from productsearch_engine.database.cause import place_of
from productsearch_engine.store.key_pairs import Credentials
from productsearch_engine.store.libraries import Libraries, UnknownLibraryError
from tests.engine.calling import CALLS, Caller, code_of, image_field, signs_of
from tests.engine.commands import ran
from tests.engine.databases import GIVEN, connected, one_postgresql
from tests.engine.image_files import jpeg


def listed(engine: Engine, caller: Caller) -> dict[str, Any]:
    """Return what ``library list`` tells of a caller's library."""
    known = json.loads(ran(engine, "library", "list", "--json"))
    found: dict[str, Any] = next(each for each in known if each["api_key"] == caller.api_key)
    return found


def test_secret_is_stored_as_a_digest(engine: Engine, caller: Caller) -> None:
    """The secret key is in no table and in no file that the engine writes by itself."""
    with connected(engine) as connection:
        rows = connection.execute("select a::text from apps a").fetchall()
    text = "".join(row[0] for row in rows)
    assert caller.api_key in text
    assert caller.secret_key not in text
    assert caller.secret_key.encode().hex() not in text
    assert caller.secret_key not in engine.log()


def test_create(engine: Engine) -> None:
    """``library create`` shows the key pair once, for people or as JSON, and it works.

    People are told where it is: in data that was there, or a folder that it has begun.
    """
    shown = engine.command("library", "create", "made", "--capacity", "7")
    place = place_of(GIVEN) if GIVEN else engine.data
    assert f"It is in {place}." in shown
    keys = {line[:12].strip(): line[12:] for line in shown.splitlines()[:3]}
    caller = Caller(engine.url, keys["API key"], keys["secret key"])
    assert 0 == code_of(caller.call("add", image=jpeg(1), brief="x"))
    assert (1, 7) == _count(engine, caller)
    caller.close()
    again = json.loads(ran(engine, "library", "create", "made too", "--json"))
    assert {"name", "api_key", "secret_key"} == again.keys()
    with pytest.raises(ServerError, match="'made' exists: choose another name; `library list`"):
        ran(engine, "library", "create", "made")


def test_list(engine: Engine, caller: Caller) -> None:
    """A library starts empty with room for 500,000, and its count follows adds and deletes."""
    assert (0, 500_000) == _count(engine, caller)
    for seed in range(3):
        caller.call("add", image=jpeg(seed), brief="x")
    caller.call("add", image=jpeg(0), brief="x")
    assert (3, 500_000) == _count(engine, caller)
    caller.call("delete", image=jpeg(0))
    caller.call("delete", image=jpeg(0))
    assert (2, 500_000) == _count(engine, caller)
    assert caller.api_key in ran(engine, "library", "list")


def _count(engine: Engine, caller: Caller) -> tuple[int, int]:
    library = listed(engine, caller)
    return library["image_count"], library["capacity"]


def test_full_library(engine: Engine, new_caller: Callable[..., Caller]) -> None:
    """A full library answers 990001 with a log_id, duplicates still 216681, until it grows."""
    caller = new_caller(2)
    for seed in range(2):
        assert 0 == code_of(caller.call("add", image=jpeg(seed), brief="x"))
    full = caller.call("add", image=jpeg(2), brief="x")
    assert (990001, "library is full") == (full["error_code"], full["error_msg"])
    assert "log_id" in full
    assert 216681 == code_of(caller.call("add", image=jpeg(1), brief="x"))
    caller.call("delete", image=jpeg(0))
    assert 0 == code_of(caller.call("add", image=jpeg(2), brief="x"))
    assert 990001 == code_of(caller.call("add", image=jpeg(0), brief="x"))
    ran(engine, "library", "grow", listed(engine, caller)["name"], "--by", "1")
    assert 0 == code_of(caller.call("add", image=jpeg(0), brief="x"))
    assert (3, 3) == _count(engine, caller)


@one_postgresql
def test_concurrent_adds_do_not_overfill(engine: Engine, new_caller: Callable[..., Caller]) -> None:
    """Of 16 adds at once into room for 5, exactly 5 are stored."""
    caller = new_caller(5)

    def add(seed: int) -> int:
        response = requests.post(
            caller.url + CALLS + "add",
            params={"access_token": caller.token},
            data={"image": image_field(jpeg(seed)), "brief": "x"},
            timeout=60,
        )
        return code_of(response.json())

    log = engine.data / "postgres" / "server.log"
    before = log.read_text()
    with ThreadPoolExecutor(16) as pool:
        codes = sorted(pool.map(add, range(16)))
    # Losing the race for the last place is no error of the database: its log has no SQL of it.
    assert "insert into" not in log.read_text().removeprefix(before)
    assert "libraries_room" not in log.read_text().removeprefix(before)
    assert [0] * 5 + [990001] * 11 == codes
    assert 5 == len(signs_of(caller.call("search", image=jpeg(0))))
    assert (5, 5) == _count(engine, caller)


def test_app_without_library(engine: Engine, caller: Caller) -> None:
    """A deleted library is 216017 for its app, and an empty one once it is made again."""
    name = listed(engine, caller)["name"]
    caller.call("add", image=jpeg(1), brief="x")
    with pytest.raises(ServerError, match="--yes"):
        ran(engine, "library", "delete", name)
    assert 1 == len(signs_of(caller.call("search", image=jpeg(1))))
    ran(engine, "library", "delete", name, "--yes")
    assert 200 == caller.ask_token().status_code
    for method, form in (
        ("add", {"image": image_field(jpeg(2)), "brief": "x"}),
        ("search", {"image": image_field(jpeg(1))}),
        ("update", {"cont_sign": "1,2", "brief": "x"}),
        ("delete", {"cont_sign": "1,2"}),
    ):
        answer = caller.answer(method, data=form)
        assert (216017, "not initialized") == (answer["error_code"], answer["error_msg"])
    ran(engine, "library", "create", name, "--api-key", caller.api_key)
    assert [] == signs_of(caller.call("search", image=jpeg(1)))
    assert 0 == code_of(caller.call("add", image=jpeg(1), brief="x"))


def test_unknown_app(engine: Engine, caller: Caller) -> None:
    """A token of an app that is not in this database is 216110."""
    ran(engine, "library", "delete", listed(engine, caller)["name"], "--yes")
    with connected(engine) as connection:
        connection.execute("delete from apps where api_key = %s", [caller.api_key])
    assert 216110 == code_of(caller.call("search", image=jpeg(1)))


@one_postgresql
def test_another_embedding(
    engine: Engine, caller: Caller, new_caller: Callable[..., Caller]
) -> None:
    """Libraries of another embedding are refused with 990002, and the log names each at start."""
    names = [listed(engine, each)["name"] for each in (caller, new_caller())]
    with connected(engine) as connection:
        for name in names:
            connection.execute("update libraries set embedding = 'other-9' where name = %s", [name])
    answer = caller.call("search", image=jpeg(1))
    assert 990002 == answer["error_code"]
    assert "log_id" in answer
    second = Engine(engine.data)
    second.start()
    second.stop()
    for name in names:
        assert f"library '{name}' was built with embedding other-9" in second.log()
    assert 200 == requests.get(engine.url + "/healthz", timeout=30).status_code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", ""], "1 to 64 printable"),
        (["create", "a\nb"], "1 to 64 printable"),
        (["create", "x" * 65], "1 to 64 printable characters; this one has 65"),
        (["create", " x"], "1 to 64 printable characters, without blanks at its ends"),
        (["create", "x", "--capacity", "0"], "must be a number from 1 on, not '0'"),
        (["rotate-key", "x", "--overlap", "1d"], "must be 0, or 1 to 86400 seconds, not '1d'"),
        (["delete-lag", "x", "1d"], "must be off, or 1 to 604800 seconds, not '1d'"),
        (["quota", "x", "--per-day", "all"], "must be none, or 1 to 2147483647 calls, not 'all'"),
        (["create", "x", "--api-key", "nobody"], "no API key"),
        (["grow", "nowhere"], "no library"),
        (["delete", "nowhere", "--yes"], "no library"),
    ],
)
def test_refused_commands(engine: Engine, arguments: list[str], told: str) -> None:
    """A command that cannot be done says why in one line."""
    with pytest.raises(ServerError, match=told):
        ran(engine, "library", *arguments)


def test_new_data_is_told_as_that(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever meant another folder sees it at once, beside the key pair."""
    made = Credentials(api_key="an-api-key", secret_key="a-secret-key")
    monkeypatch.setattr(library_commands, "open_pool", lambda *_: nullcontext())
    monkeypatch.setattr(Libraries, "create", lambda *_, **__: made)
    data = tmp_path / "elsewhere"
    create = ["library", "create", "shop", "--data", str(data)]
    assert 0 == main(create)
    assert f"It is in {data}, which is new." in capsys.readouterr().out
    assert 0 == main([*create, "--json"])
    assert "an-api-key" == json.loads(capsys.readouterr().out)["api_key"]
    (data / "postgres").mkdir()
    assert 0 == main(create)
    assert f"It is in {data}." in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        *("library list", "library grow x", "library keep-images x on", "library delete x --yes"),
        *("user list", "user add x --library y --role edit", "user remove x", "purge x 1,2"),
        *("reembed x --discard", "evaluate . --calibrate x"),
    ],
)
def test_only_what_begins_an_engine_makes_its_data(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another command names the data directory that it was led to, and leaves nothing there."""
    data = tmp_path / "elsewhere"
    assert 1 == main([*command.split(), "--data", str(data)])
    told = capsys.readouterr().err
    assert f"there is no data in {data}" in told
    assert "--data" in told
    assert not data.exists()


@one_postgresql
def test_an_unknown_library_leads_to_the_known_ones(engine: Engine, caller: Caller) -> None:
    """Whichever command names it: the names that there are, and the data directory."""
    known = listed(engine, caller)["name"]
    for command in (
        ["library", "grow", "nowhere"],
        ["library", "delete", "nowhere", "--yes"],
        ["user", "add", "mei", "--library", "nowhere", "--role", "edit"],
        ["reembed", "nowhere", "--discard"],
    ):
        with pytest.raises(ServerError) as refused:
            ran(engine, *command)
        assert "no library 'nowhere': there is" in str(refused.value)
        assert str(engine.data) in str(refused.value)
    assert f"{known!r}" in str(UnknownLibraryError("x", [known]))
    assert "2 more" in str(UnknownLibraryError("x", [str(number) for number in range(12)]))
    assert "none yet" in str(UnknownLibraryError("x", []))


def test_the_engine_leads_to_its_console(engine: Engine) -> None:
    """Who opens the address in a browser finds something there."""
    answer = requests.get(f"{engine.url}/", timeout=30, allow_redirects=False)
    assert (307, "/console/") == (answer.status_code, answer.headers["location"])


def test_names_and_apps_are_unique(engine: Engine, caller: Caller) -> None:
    """A second library of a name, or for an app that has one, is refused."""
    with pytest.raises(ServerError, match="exists"):
        ran(engine, "library", "create", listed(engine, caller)["name"])
    with pytest.raises(ServerError, match="has a library"):
        ran(engine, "library", "create", "another", "--api-key", caller.api_key)
