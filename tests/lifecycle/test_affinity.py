"""The interpreter's threads share a core, leave it where others need it, and take no other."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from demo.facade import Facade
from productsearch import v1
from productsearch_service import limits
from productsearch_service.affinity import OneCore, Sight
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import until, until_ready
from tests.pictures import jpeg

QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "1"}
CORES = os.sched_getaffinity(0)

many_cores = pytest.mark.skipif(len(CORES) < 2, reason="there is but one core")


def _threads(process: Facade) -> list[tuple[str, set[int]]]:
    """Return the kernel's names of a process's threads, with the cores that each may run on."""
    found = []
    for path in Path(f"/proc/{process.pid}/task").iterdir():
        try:
            name = (path / "comm").read_text().strip()
            found.append((name, os.sched_getaffinity(int(path.name))))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return found


def _homes(process: Facade) -> list[int]:
    """Return the core of each thread that is kept on one."""
    return [core for _, cores in _threads(process) if len(cores) == 1 for core in cores]


def _of_grpc(process: Facade) -> list[set[int]]:
    """Return the different sets of cores that gRPC's own threads may run on."""
    found: list[set[int]] = []
    for name, cores in _threads(process):
        if name.startswith("event_engine") and cores not in found:
            found.append(cores)
    return found


def _serving(process: Facade) -> None:
    with grpc.insecure_channel(process.url) as channel:
        stub = v1.ProductSearchStub(channel)
        for _ in range(20):
            stub.SearchImages(
                v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1))), timeout=30
            )


@contextmanager
def _taken(core: int) -> Iterator[None]:
    """Let another process take a core, all of it."""
    hog = multiprocessing.get_context("spawn").Process(target=_burn, args=(core,), daemon=True)
    hog.start()
    try:
        yield
    finally:
        hog.kill()
        hog.join()


def _burn(core: int) -> None:
    os.sched_setaffinity(0, {core})
    while True:
        pass


@many_cores
def test_pythons_threads_share_a_core_and_grpcs_have_all(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=QUICK) as process:
        until_ready(process)
        _serving(process)
        until(lambda: len(_homes(process)) > 5, "threads on one core")
        _serving(process)
        assert len(set(_homes(process))) == 1
        until(lambda: _of_grpc(process) == [CORES], "gRPC's own threads on all cores")


@many_cores
def test_they_leave_a_core_that_another_process_takes(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=QUICK) as process:
        until_ready(process)
        until(lambda: len(_homes(process)) > 5, "threads on one core")
        first = _homes(process)[0]
        with _taken(first):
            until(lambda: first not in _homes(process), "a move to another core")
        _serving(process)


@many_cores
def test_the_setting_leaves_them_everywhere(upstream: FakeUpstream, tmp_path: Path) -> None:
    everywhere = {**QUICK, "PRODUCTSEARCH_ONE_CORE": "false"}
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=everywhere) as process:
        until_ready(process)
        time.sleep(3 * limits.CORE_LOOK_S)
        assert not _homes(process)


def _chosen(home: int | None, busy: dict[int, float], own: float, allowed: set[int]) -> set[int]:
    """Return what is chosen in a hundred tries, a second after everything was idle."""
    found = set()
    for seed in range(100):
        one_core = OneCore(chance=random.Random(seed).random)
        one_core.home = home
        before = Sight(0.0, dict.fromkeys(busy, 0.0))
        found.add(one_core.choose(allowed, before, Sight(1.0, busy, own)))
    return found


def test_the_first_core_is_one_of_the_least_busy() -> None:
    busy = {0: 0.9, 1: 0.05, 2: 0.1, 3: 0.5}
    assert _chosen(None, busy, 0.0, {0, 1, 2, 3}) == {1, 2}


def test_own_work_is_no_reason_to_move() -> None:
    assert _chosen(0, {0: 1.0, 1: 0.0}, 0.9, {0, 1}) == {0}


def test_a_core_that_others_take_is_left_by_chance_for_the_least_busy() -> None:
    busy = {0: 1.0, 1: 0.0, 2: 0.6}
    assert _chosen(0, busy, 0.5, {0, 1, 2}) == {0, 1}  # 0: one of two that meet there stays


def test_nothing_is_won_where_all_cores_are_as_busy() -> None:
    assert _chosen(0, {0: 1.0, 1: 0.95}, 0.0, {0, 1}) == {0}


def test_a_core_that_is_not_allowed_any_more_is_left_at_once() -> None:
    assert _chosen(0, {0: 0.0, 1: 0.0, 2: 0.0}, 0.0, {1, 2}) == {1, 2}
