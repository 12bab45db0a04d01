"""A caller that leaves, at whatever moment, takes what it held with it and blames nobody."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch_service import limits
from productsearch_service.counters import CALL_DURATION
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import Held, Watched, add, connections_to, image, outcome, search, until
from tests.fakes.upstream import FakeUpstream, search_answer

CALLS = 240
STREAMS = 24
LONGEST_S = 0.06
OWN_ITEMS_MAX = limits.BULK_ITEMS_MAX // 2
"""Of one caller: it never has all places."""
Request = v1.BulkAddImagesRequest
LIBRARIES: dict[str, dict[str, Any]] = {"free": {}, "paced": {"quota_qps": 25}}


def _answer(chance: random.Random, request: Any) -> Any:
    """Answer after a while: the upstream is as slow as calls are patient."""
    time.sleep(chance.uniform(0, LONGEST_S))
    return {
        "add": {"log_id": 101, "cont_sign": "1,2"},
        "search": search_answer(("1,2", 0.9, "a brief")),
    }.get(request.method, {"log_id": 103})


def _begin(facade: Watched, chance: random.Random, number: int) -> Any:
    """Begin one call of any kind."""
    library = chance.choice([*LIBRARIES])
    ref = v1.ImageRef(cont_sign=f"{number},1")
    stub = facade.stub
    signs = [f"{number},{each}" for each in range(120)]
    method, request = chance.choice(
        [
            (stub.AddImage, add(number, library)),
            (stub.SearchImages, search(number % 7, library)),
            (stub.UpdateImage, v1.UpdateImageRequest(library=library, image_ref=ref, brief="b")),
            (stub.DeleteImage, v1.DeleteImageRequest(library=library, image_ref=ref)),
            (
                stub.BatchDeleteImages,
                v1.BatchDeleteImagesRequest(library=library, cont_signs=signs),
            ),
        ]
    )
    return method.future(request, timeout=30)


def _items(chance: random.Random, library: str, count: int) -> Iterator[Request]:
    yield Request(settings=Request.Settings(library=library))
    for number in range(count):
        time.sleep(chance.uniform(0, 0.01))
        new_image = v1.NewImage(image=image(number), brief="b")
        yield Request(item=Request.Item(key=str(number), new_image=new_image))


def _stream(facade: Watched, seed: int) -> None:
    """Begin a bulk stream, read a part of its results, and leave."""
    chance = random.Random(seed)
    messages = _items(chance, chance.choice([*LIBRARIES]), 20)
    call = facade.stub.BulkAddImages(messages, timeout=30)
    end = threading.Timer(chance.uniform(0, 3 * LONGEST_S), call.cancel)
    end.start()
    try:
        for _ in range(chance.randrange(20)):
            next(call)
    except (StopIteration, grpc.RpcError):
        pass
    end.join()


def test_whoever_leaves_takes_everything_along(
    watched: WatchedFactory, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls and streams cancelled at random moments: nothing is held or blamed.

    Counted as CANCELLED or OK alone; no fault is logged, no breaker opens; admission places, slots
    of the quota, bulk places, connections and asyncio tasks are given back.
    """
    caplog.set_level(logging.WARNING)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    answers = random.Random(seed + 1)
    for method in ("add", "search", "update", "delete"):
        upstream.always(method, lambda request: _answer(answers, request))
    facade = watched(LIBRARIES)
    tasks = facade.tasks()

    with ThreadPoolExecutor(6) as streams:
        ended = [streams.submit(_stream, facade, seed + number) for number in range(STREAMS)]
        leaving: list[tuple[float, Any]] = []
        for number in range(CALLS):
            call = _begin(facade, chance, number)
            leaving.append((time.monotonic() + chance.uniform(0, 2 * LONGEST_S), call))
            time.sleep(0.004)
            while leaving and leaving[0][0] < time.monotonic():
                leaving.pop(0)[1].cancel()
        for _, call in leaving:
            call.cancel()
        for stream in ended:
            stream.result()

    for kind in ("waiting", "receiving", "unary", "stream", "bulk_item"):
        until(lambda kind=kind: facade.in_flight(kind) == 0)
    assert 0 == facade.metric("pacer_waiting"), "tickets whose callers have left"
    until(lambda: facade.tasks() == tasks)
    counted = facade.by_label("caller_rpcs_total", "code")
    assert {"CANCELLED", "OK"} == counted.keys()
    assert sum(counted.values()) <= CALLS + STREAMS
    updates = [call for call in upstream.calls if call.method == "update"]
    method = "productsearch.v1.ProductSearch/UpdateImage"
    assert len(updates) <= facade.metric(f"{CALL_DURATION}_count", rpc_method=method)
    assert {} == facade.by_label("breaker_open", "library")
    assert LIBRARIES.keys() == facade.by_label("library_ready", "library").keys()
    assert [] == [each.getMessage() for each in caplog.records]
    _connections_are_idle(facade, upstream)
    _all_bulk_places_are_free(facade, upstream)
    for library in LIBRARIES:
        assert "OK" == outcome(facade.stub.AddImage.future(add(1, library), timeout=2))


def _connections_are_idle(facade: Watched, upstream: FakeUpstream) -> None:
    """As many calls at once, in each library, as both have connections: all of them are used."""
    held = Held({"log_id": 101, "cont_sign": "1,2"})
    upstream.always("add", held)
    before = connections_to(upstream.url) or 1  # those that left may have taken them all along
    calls = [
        facade.stub.AddImage.future(add(number, library), timeout=20)
        for library in LIBRARIES
        for number in range(before)
    ]
    until(lambda: held.arrived == len(calls))
    assert len(LIBRARIES) * before == connections_to(upstream.url)
    held.release()
    assert {"OK"} == {outcome(call) for call in calls}


def _all_bulk_places_are_free(facade: Watched, upstream: FakeUpstream) -> None:
    held = Held({"log_id": 101, "cont_sign": "1,2"})
    upstream.always("add", held)
    chance = random.Random(1)
    streams = [
        facade.stub.BulkAddImages(_items(chance, "free", limits.BULK_AT_ONCE), timeout=20)
        for _ in range(OWN_ITEMS_MAX // limits.BULK_AT_ONCE)
    ]
    until(lambda: held.arrived == OWN_ITEMS_MAX)
    held.release()
    for stream in streams:
        *_, last = stream
        assert limits.BULK_AT_ONCE == last.summary.added_count
