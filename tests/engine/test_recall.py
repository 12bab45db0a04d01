"""What searches by the index miss is seen by repeating them exactly, while there is time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database.pool import WatchedPool, open_pool
from productsearch_engine.limits import RECALL_WAITING_MAX
from productsearch_engine.metrics import PREFIX, Metrics
from productsearch_engine.server.background import repeating
from productsearch_engine.server.recall_checks import Names, RecallChecks
from productsearch_engine.store.images import Images, half
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.plans import Borders
from productsearch_engine.store.recall import RecallSample
from productsearch_engine.store.statements import ClassFilter
from tests.engine.test_store import EVERY, image, library, vector
from tests.lifecycle.asking import until

LARGE = Borders(exact_images=0, prefix_images=0)


@pytest.fixture(scope="module")
def pool(engine: Engine) -> Iterator[WatchedPool]:
    """Connections to the engine's database, as an engine has them."""
    with open_pool(settings.load({}, {"data": str(engine.data)}), 3) as opened:
        yield opened


@pytest.fixture(scope="module")
def shop(pool: WatchedPool) -> Library:
    """A library with 40 images."""
    made = library(pool, "recalled")
    for seed in range(40):
        Images(pool).add(made, image(seed))
    return Libraries(pool).named("recalled")


def searched(pool: WatchedPool, of: Library, sample: RecallSample, **changes: Any) -> list[int]:
    """Search by the index; return the signs of the first ten."""
    arguments = {"classes": EVERY, "start": 0, "count": 10, "borders": LARGE} | changes
    images = Images(pool, borders=arguments.pop("borders"), sample=sample)
    hits, _ = images.search(of, vector(3), **arguments)
    return [hit.sign for hit in hits]


def test_what_the_index_has_lost_is_counted(pool: WatchedPool, shop: Library) -> None:
    """All ranks are found at first; without the prefixes of three of them, three less."""
    sample = RecallSample(pool, share=1)
    signs = searched(pool, shop, sample)
    compared = sample.compare()
    assert compared is not None
    assert (10, 10) == (compared.found, compared.wanted)
    with pool.connection() as connection:
        connection.execute(
            f"create table lost as select * from nearest_{shop.id} where sign = any(%s)".encode(),
            [signs[2:5]],
        )
        lost = f"delete from nearest_{shop.id} where sign in (select sign from lost)"
        connection.execute(lost.encode())
        try:
            sample.offer(shop, half(vector(3)), 10)
            compared = sample.compare()
        finally:
            connection.execute(f"insert into nearest_{shop.id} select * from lost".encode())
            connection.execute("drop table lost")
    assert compared is not None
    assert (7, 10) == (compared.found, compared.wanted)
    assert sample.compare() is None


def test_only_searches_by_the_index_are_taken(pool: WatchedPool, shop: Library) -> None:
    """None that is exact anyway, a share of the others, the newest few of them."""
    sample = RecallSample(pool, share=1)
    searched(pool, shop, sample, borders=Borders())
    searched(pool, shop, sample, classes=ClassFilter(class_id1=1, class_id2=None, any_class=False))
    assert sample.compare() is None
    for count in range(1, RECALL_WAITING_MAX + 4):
        searched(pool, shop, sample, start=3, count=count)
    wanted = []
    while (compared := sample.compare()) is not None:
        wanted.append(compared.wanted)
    assert [count + 3 for count in range(RECALL_WAITING_MAX + 3, 3, -1)] == wanted
    none = RecallSample(pool, share=0)
    searched(pool, shop, none)
    assert none.compare() is None


def test_a_library_that_is_gone_is_passed_over(pool: WatchedPool) -> None:
    """Its search is forgotten, without an error."""
    gone, sample = library(pool, "recalled-no-more"), RecallSample(pool, share=1)
    Images(pool).add(gone, image(1))
    gone = Libraries(pool).named("recalled-no-more")
    searched(pool, gone, sample)
    Libraries(pool).delete("recalled-no-more")
    assert sample.compare() is None


def test_it_is_done_while_nobody_waits(pool: WatchedPool, shop: Library) -> None:
    """Not while a call uses the database; then it is, and counted by library."""
    sample, metrics = RecallSample(pool, share=1), Metrics()
    searched(pool, shop, sample)

    def value(name: str) -> float | None:
        registry: CollectorRegistry = metrics.registry
        return registry.get_sample_value(f"{PREFIX}{name}_total", {"library": "recalled"})

    checks = RecallChecks(sample, pool, metrics)
    with ExitStack() as busy:
        busy.enter_context(pool.connection())
        with repeating("checking", lambda _: checks.look(), 0.02):
            time.sleep(0.3)
            assert value("recall_wanted") is None
            busy.close()
            until(lambda: value("recall_wanted"), "a check")
    assert (10, 10) == (value("recall_found"), value("recall_wanted"))


def test_labels_are_bounded() -> None:
    """Libraries beyond the first ones share the empty name."""
    names = Names(2)
    assert ["a", "b", "", "", "a", "b"] == [names.label(name) for name in "abcdab"]
