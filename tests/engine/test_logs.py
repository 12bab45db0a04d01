"""One kind of trouble is one line a second, whatever its text; other lines pass."""

from __future__ import annotations

import logging

import pytest

from productsearch_engine import logs


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> tuple[logging.Logger, list[str], list[float]]:
    """A logger, what passes the filter, and a clock that stands."""
    passed: list[str] = []
    clock = [100.0]
    monkeypatch.setattr("productsearch_engine.logs.time.monotonic", lambda: clock[0])

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            passed.append(record.getMessage())

    logger = logging.Logger("tried", logging.INFO)
    handler = Kept()
    handler.addFilter(logs.OnePerSecond())
    logger.addHandler(handler)
    return logger, passed, clock


def test_one_kind(lines: tuple[logging.Logger, list[str], list[float]]) -> None:
    """The first passes, the rest of the second does not, the next one says how many."""
    logger, passed, clock = lines
    for _ in range(2):
        for number in range(1000):
            logger.error("trouble %d %s", number, "100%s")
        clock[0] += 1
    logger.error("trouble")
    assert ["trouble 0 100%s", "trouble 0 100%s (999 more like this since)", "trouble"] == passed


def test_other_kinds(lines: tuple[logging.Logger, list[str], list[float]]) -> None:
    """Other lines, other exceptions and access lines are not held back."""
    logger, passed, _ = lines
    for _ in range(10):
        logger.info("access")
        logger.error("here")
        logger.warning("there")
        for kind in (ValueError, TypeError):
            logger.error("fault", exc_info=kind("text of its own"))
    assert 10 == passed.count("access")
    assert [1, 1, 2] == [passed.count(text) for text in ("here", "there", "fault")]


def test_kinds_are_bounded(lines: tuple[logging.Logger, list[str], list[float]]) -> None:
    """Kinds without number do not grow the memory without bound."""
    logger, passed, _ = lines
    for number in range(1000):
        exec(compile("logger.error('x')", f"file-{number}", "exec"), {"logger": logger})
    assert 1000 == len(passed)
