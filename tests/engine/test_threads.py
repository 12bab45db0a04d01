"""Threads that run before there is work for them, and work without a thread to spare."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from productsearch_engine.threads import started


def failing(after: int) -> Callable[[threading.Thread], None]:
    """Return a ``Thread.start`` of a system that has so many threads left."""
    real, left = threading.Thread.start, after

    def start(thread: threading.Thread) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError("can't start new thread")
        real(thread)

    return start


def test_work_needs_no_new_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads run from the beginning."""
    with started(3, "early") as threads:
        monkeypatch.setattr(threading.Thread, "start", failing(0))
        meeting = threading.Barrier(3)
        work = [threads.submit(meeting.wait, 60) for _ in range(3)]
        assert [0, 1, 2] == sorted(each.result(60) for each in work)


def test_too_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are not so many, it says so, and none is left."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", failing(2))
        with pytest.raises(RuntimeError, match="new thread"):
            started(3, "too few")
    for thread in threading.enumerate():
        if thread.name.startswith("too few"):
            thread.join(60)
            assert not thread.is_alive()
