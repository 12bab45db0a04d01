"""The engine's metrics: parts of a call, the pool, and what the database's tables are like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database.pool import WatchedPool, open_pool
from productsearch_engine.server.background import repeating
from productsearch_engine.server.database_states import DatabaseStates
from tests.engine.calling import Caller
from tests.engine.image_files import jpeg
from tests.lifecycle.asking import until

PAGE = Path(__file__).resolve().parents[2] / "docs/operating.md"
PREFIX = "productsearch_engine_"


@pytest.fixture(scope="module")
def caller(engine: Engine) -> Iterator[Caller]:
    """A caller of a library of this module's own."""
    made = Caller(engine.url, *engine.create_library("for-metrics", "--capacity", "7"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def pool(engine: Engine) -> Iterator[WatchedPool]:
    """Connections to the engine's database, as an engine has them."""
    with open_pool(settings.load({}, {"data": str(engine.data)}), 3) as opened:
        yield opened


def _samples(engine: Engine) -> dict[tuple[str, str], float]:
    """Return the samples by name and the value of their last label."""
    page = requests.get(f"{engine.url}/metrics", timeout=30).text
    return {
        (sample.name, [*sample.labels.values(), ""][0]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_parts_of_a_call_are_timed(engine: Engine, caller: Caller) -> None:
    """An add is decoded, embedded and stored: each part once or more, and none took no time."""
    before = _samples(engine)
    caller.call("add", image=jpeg(1), brief="x")
    after = _samples(engine)
    for stage in ("decode", "embed", "copy", "process_wait", "sql", "connection_wait"):
        for what, least in (("count", 1), ("sum", 1e-6)):
            name = (f"{PREFIX}stage_seconds_{what}", stage)
            assert after[name] - before.get(name, 0) >= least, name
    assert after[f"{PREFIX}request_seconds_count", "add"] >= 1
    assert 1 == after[f"{PREFIX}database_up", ""]


def test_the_states_of_the_database(engine: Engine, caller: Caller, pool: WatchedPool) -> None:
    """Libraries with their images and room, indexes, the pool; seen by the thread that looks."""
    caller.call("add", image=jpeg(2), brief="x")
    registry = CollectorRegistry()
    states = DatabaseStates(pool)
    registry.register(states)
    with repeating("looking", lambda _: states.look(), 0.05):

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(PREFIX + name, labels)

        library = {"library": "for-metrics"}
        until(lambda: (value("library_images", **library) or 0) >= 1, "a look at the libraries")
        assert 7 == value("library_capacity", **library)
        assert 1 == value("library_indexed", **library)
        assert 0 == value("indexes_invalid")
        assert 3 == value("pool_connections_limit")
        assert (value("nearest_index_bytes") or 0) > 0
        caller.call("delete", image=jpeg(2))


def test_a_scrape_does_not_wait_for_the_database(pool: WatchedPool) -> None:
    """Before the first look, and with every connection in use, the pool's states are told."""
    with pool.connection(), pool.connection(), pool.connection():
        names = {metric.name for metric in DatabaseStates(pool).collect()}
    assert f"{PREFIX}pool_waiting" in names
    assert f"{PREFIX}library_images" not in names


def test_the_page_has_each_metric(engine: Engine, caller: Caller) -> None:
    """And none that does not exist."""
    until(lambda: (f"{PREFIX}indexes_invalid", "") in _samples(engine), "the first look")
    page = requests.get(f"{engine.url}/metrics", timeout=30).text
    exist = {name for name in re.findall(r"^# TYPE (\w+) ", page, re.M) if name.startswith(PREFIX)}
    table = PAGE.read_text("utf-8").partition("### The engine's metrics")[2].partition("\n#")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    told = [name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])]
    assert sorted(name.removeprefix(PREFIX) for name in exist) == sorted(told)
