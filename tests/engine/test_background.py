"""Work that the engine repeats beside its calls: only the stop ends it."""

from __future__ import annotations

import itertools
import logging
import threading
import time

import psycopg
import pytest

from productsearch_engine.server.background import repeating

_PATIENCE_S = 20


@pytest.mark.parametrize("failure", [psycopg.OperationalError("gone"), ValueError("a mistake")])
def test_a_failure_is_logged_and_the_next_turn_comes(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the failure; only a mistake of ours has a traceback."""
    turns = iter([failure, None])
    done = threading.Event()

    def work(_: object) -> None:
        if (error := next(turns, None)) is not None:
            raise error
        done.set()

    with caplog.at_level(logging.WARNING), repeating("tidying", work, 0.01):
        assert done.wait(_PATIENCE_S)
    (record,) = caplog.records
    assert record.getMessage().startswith("tidying failed")
    assert (record.exc_info is not None) == isinstance(failure, ValueError)


def test_a_stop_waits_for_no_pause_and_ends_the_turn_under_way() -> None:
    """A turn is told that it should stop, and interrupted until it has."""
    began, interrupted = threading.Event(), threading.Event()
    stops = []

    def work(is_stopped: object) -> None:
        began.set()
        assert interrupted.wait(_PATIENCE_S)
        assert callable(is_stopped)
        stops.append(is_stopped())

    with repeating("tidying", work, 3600, interrupt=interrupted.set):
        assert began.wait(_PATIENCE_S)
    assert [True] == stops


def test_the_last_turn_comes_after_the_stop() -> None:
    """``at_end``: what happened until then is not lost."""
    stopped = []

    def work(is_stopped: object) -> None:
        assert callable(is_stopped)
        stopped.append(is_stopped())

    with repeating("writing", work, 3600, at_end=True):
        while not stopped:
            time.sleep(0.001)
    assert [False, True] == stopped


def test_work_takes_no_more_than_its_share() -> None:
    """A turn of 20 ms with a share of a tenth is followed by a pause of 180 ms or more."""
    began_s: list[float] = []

    def work(_: object) -> None:
        began_s.append(time.monotonic())
        time.sleep(0.02)

    with repeating("checking", work, 0.001, share=0.1):
        while len(began_s) < 3:
            time.sleep(0.001)
    assert min(later - sooner for sooner, later in itertools.pairwise(began_s)) >= 0.18
