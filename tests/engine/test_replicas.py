"""Several engines over one PostgreSQL: whatever one of them knows, all of them go by."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from demo.processes import Engine
from productsearch_engine.database import migrate
from tests.engine.calling import Caller, code_of, signs_of
from tests.engine.databases import connected, one_postgresql
from tests.engine.image_files import jpeg

pytestmark = one_postgresql

_SECOND_S = 1.0
_MINUTE_S = 60.0


@dataclass(frozen=True)
class Replicas:
    """Engines over one database that was empty when they started together."""

    dsn: str
    engines: list[Engine]


@contextmanager
def started(engine: Engine, number: int, folder: Path) -> Iterator[Replicas]:
    """Yield replicas over a new database of a running engine's PostgreSQL."""
    name = f"replicas_{number}"
    with connected(engine) as connection:
        connection.execute(f"create database {name}".encode())
        host = connection.info.host
    dsn = f"host={host} user=postgres dbname={name}"
    environment = {
        "PRODUCTSEARCH_ENGINE_DATABASE": dsn,
        "PRODUCTSEARCH_ENGINE_SIGNING_KEY_FILE": str(engine.data / "signing.key"),
        "PRODUCTSEARCH_ENGINE_WORKERS": "4",
        "PRODUCTSEARCH_ENGINE_DECODERS": "1",
    }
    made = [Engine(folder / str(each), environment=environment) for each in range(number)]
    with ExitStack() as stack, ThreadPoolExecutor(number) as threads:
        for each in made:
            stack.callback(each.stop)
        list(threads.map(lambda each: each.start(120), made))
        yield Replicas(dsn, made)


@pytest.mark.parametrize("number", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_replicas(engine: Engine, number: int, tmp_path: Path) -> None:
    """All promises of one engine hold over several."""
    with started(engine, number, tmp_path) as replicas:
        _migrated_once(replicas)
        first = replicas.engines[0]
        keys = first.create_library("shared", "--capacity", "3")
        callers = [Caller(each.url, *keys) for each in replicas.engines]
        _one_add_is_stored_once(callers)
        _capacity_is_kept(callers)
        _tokens_are_good_everywhere(callers)
        _settings_are_seen(first, callers)
        _a_changed_key_is_seen(first, callers)
        for caller in callers:
            caller.close()


def _migrated_once(replicas: Replicas) -> None:
    with psycopg.connect(replicas.dsn) as connection:
        rows = connection.execute("select version from schema_migrations").fetchall()
    assert sorted(migrate.versions()) == sorted(row[0] for row in rows)
    for each in replicas.engines:
        assert "ERROR" not in each.log()
    migrated = [each for each in replicas.engines if "migrated:" in each.log()]
    assert 1 == len(migrated), "one engine does it, and the others wait"


def _one_add_is_stored_once(callers: list[Caller]) -> None:
    with ThreadPoolExecutor(len(callers)) as threads:
        answers = [
            *threads.map(lambda each: each.call("add", image=jpeg(1), brief="x"), callers),
        ]
    assert {0: 1, 216681: len(callers) - 1} == dict(Counter(map(code_of, answers)))
    assert 1 == len({answer["cont_sign"] for answer in answers})
    for caller in callers:
        assert 1 == len(signs_of(caller.call("search", image=jpeg(1))))


def _capacity_is_kept(callers: list[Caller]) -> None:
    seeds = range(2, 2 + max(4, len(callers)))
    with ThreadPoolExecutor(len(callers)) as threads:
        work = [
            threads.submit(callers[seed % len(callers)].call, "add", image=jpeg(seed), brief="x")
            for seed in seeds
        ]
        codes = Counter(code_of(each.result()) for each in work)
    assert {0: 2, 990001: len(seeds) - 2} == dict(codes)


def _tokens_are_good_everywhere(callers: list[Caller]) -> None:
    for issued in callers:
        for asked in callers:
            answer = asked.answer("update", token=issued.token, data={"cont_sign": "1,2"})
            assert 216680 == code_of(answer)


def _settings_are_seen(first: Engine, callers: list[Caller]) -> None:
    """A setting that engines remember counts for all of them within a second."""

    def codes() -> set[int]:
        return {code_of(each.call("update", cont_sign="1,2", brief="x")) for each in callers}

    assert {216680} == codes()
    first.command("library", "quota", "shared", "--in-total", "1")
    time.sleep(_SECOND_S)
    codes()
    assert {19} == codes()
    first.command("library", "quota", "shared", "--in-total", "none")
    time.sleep(_SECOND_S)
    assert {216680} == codes()


def _a_changed_key_is_seen(first: Engine, callers: list[Caller]) -> None:
    made = json.loads(first.command("library", "rotate-key", "shared", "--json"))
    changed_s = time.monotonic()
    renewed = Caller(callers[-1].url, made["api_key"], made["secret_key"])
    for caller in callers:
        answer = caller.answer("update", token=renewed.token, data={"cont_sign": "1,2"})
        assert 216680 == code_of(answer), "the new token counts at once"
    renewed.close()
    time.sleep(_SECOND_S)
    for caller in callers:
        assert 401 == caller.ask_token().status_code
        assert 110 == code_of(caller.call("update", cont_sign="1,2", brief="x"))
    assert time.monotonic() - changed_s < _MINUTE_S
