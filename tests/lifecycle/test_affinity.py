"""A busy interpreter's threads share a core that others leave alone; otherwise they have all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from productsearch_service.affinity import OneCore, Sight

CORES = os.sched_getaffinity(0)

# In a process of its own: it moves its threads for real.
MOVES = """
import os, threading
from productsearch_service.affinity import OneCore

wanted = None
class Told(OneCore):
    def choose(self, allowed, before, now):
        assert before.busy_s and now.own_s >= before.own_s
        return wanted

def cores():
    return [sorted(os.sched_getaffinity(other.native_id)) for other in others]

def look():
    looking = threading.Thread(target=told.look)
    looking.start()
    looking.join()

stop = threading.Event()
others = [threading.Thread(target=stop.wait, daemon=True) for _ in range(3)]
for other in others: other.start()
allowed = sorted(os.sched_getaffinity(0))
told = Told()
look()
wanted = allowed[-1]
look()
assert cores() == [[wanted]] * 3, cores()
assert os.sched_getaffinity(threading.get_native_id()) == {wanted}
wanted = None
look_free = threading.Thread(target=lambda: (os.sched_setaffinity(0, allowed), told.look()))
look_free.start(); look_free.join()
assert cores() == [allowed] * 3, cores()
stop.set()
"""


@pytest.mark.skipif(len(CORES) < 2, reason="there is but one core")
def test_threads_go_where_they_are_told_and_are_freed_again(tmp_path: Path) -> None:
    script = tmp_path / "moves.py"
    script.write_text(MOVES)
    subprocess.run([sys.executable, str(script)], check=True, timeout=60)


def _chosen(
    home: int | None, busy: dict[int, float], own: float, allowed: set[int]
) -> set[int | None]:
    """Return what is chosen in a hundred tries, a second after everything was idle."""
    found = set()
    for seed in range(100):
        one_core = OneCore(chance=random.Random(seed).random)
        one_core.home = home
        before = Sight(0.0, dict.fromkeys(busy, 0.0))
        found.add(one_core.choose(allowed, before, Sight(1.0, busy, own)))
    return found


def test_who_is_not_busy_has_all_cores() -> None:
    assert _chosen(None, {0: 0.2, 1: 0.0}, 0.2, {0, 1}) == {None}
    assert _chosen(0, {0: 0.1, 1: 0.0}, 0.1, {0, 1}) == {None}


def test_the_core_is_one_that_others_leave_alone() -> None:
    busy = {0: 0.9, 1: 0.05, 2: 0.8, 3: 0.5}
    assert _chosen(None, busy, 0.85, {0, 1, 2, 3}) == {0, 1}  # own work was on core 0


def test_own_work_is_no_reason_to_move() -> None:
    assert _chosen(0, {0: 1.0, 1: 0.0}, 0.9, {0, 1}) == {0}


def test_a_core_that_others_take_is_left_by_chance() -> None:
    busy = {0: 1.0, 1: 0.0, 2: 0.6}
    assert _chosen(0, busy, 0.5, {0, 1, 2}) == {0, 1}  # 0: one of two that meet there stays


def test_where_others_take_a_part_of_each_core_all_are_used() -> None:
    assert _chosen(None, {0: 0.9, 1: 0.9}, 0.4, {0, 1}) == {None}
    assert _chosen(0, {0: 0.9, 1: 0.9}, 0.4, {0, 1}) == {0, None}


def test_a_core_that_is_not_allowed_any_more_is_left_at_once() -> None:
    assert _chosen(0, {0: 0.0, 1: 0.5, 2: 0.0}, 0.5, {1, 2}) == {1, 2}
