"""Whatever an image claims and holds, its worker stays within its bounds and says what is wrong.

Full sizes, beside searches: ``python -m tests.abuse.images``.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_service import limits
from productsearch_service.images.form_encoding import FormEncoder
from productsearch_service.images.inspect import SizeInvalid, Unreadable
from tests.images import bombs
from tests.images.workers import peak_mb, worker_processes
from tests.soak.fuzz_files import claiming, files_of_all_kinds

_PEAK_MB_MAX = 400
_PATIENCE_S = 120
_SMALL = bombs.all_bombs(0.01)
_FILES = files_of_all_kinds()
_SIDES_PX = (1, 299, 2000, 8192, 16_383, 30_000, 65_500)


class Fitting:
    """An encoder on an event loop of its own, for tests that are not asyncio themselves."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._encoder = FormEncoder()

    def outcome(self, content: bytes) -> str:
        """Return what came of an image: ``fitted``, or the error; other errors are raised."""
        try:
            self._runner.run(self._fit(content))
        except (Unreadable, SizeInvalid) as wrong:
            return f"{type(wrong).__name__}: {wrong}"
        return "fitted"

    async def _fit(self, content: bytes) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            await self._encoder.form_value(content, fits=True)

    def close(self) -> None:
        """End loop and processes."""
        self._encoder.close()
        self._runner.close()


@pytest.fixture(scope="module")
def fitting() -> Iterator[Fitting]:
    """Return one encoder for all bombs: what one of them leaves behind, the next one finds."""
    made = Fitting()
    yield made
    made.close()


def _check_workers() -> None:
    workers = worker_processes()
    assert len(workers) <= limits.FIT_AT_ONCE
    for worker in workers:
        assert peak_mb(worker.pid) <= _PEAK_MB_MAX


@pytest.mark.parametrize("name", _SMALL)
def test_a_bomb_is_fitted_or_refused_within_the_bounds(name: str, fitting: Fitting) -> None:
    """No other error, no more memory, no more processes; the next image is served."""
    told = fitting.outcome(_SMALL[name]())
    assert told == "fitted" or len(told) > len("Unreadable: ")
    _check_workers()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("JPEG, progressive, 14,000 squared", "SizeInvalid: decoding .* takes more than 335 MB"),
        ("JPEG, progressive, 65,500 squared", "SizeInvalid: 65500 x 65500 pixels"),
        ("JPEG, a component a scan, 14,000 squared", "SizeInvalid: decoding .* takes more than"),
        ("JPEG, 20,000 scans", "Unreadable: a JPEG of 20[0-9] scans; fit takes up to 100"),
        ("JPEG, comments", "Unreadable: more than 128 segments"),
        ("PNG, empty chunks", "Unreadable: more than 1024 chunks"),
        ("PNG, one bit, 100,000 squared", "SizeInvalid: 100000 x 100000 pixels"),
        ("WEBP, 16,383 squared", "SizeInvalid: 16383 x 16383 pixels"),
        ("HEIC, 30,000 squared", "SizeInvalid: 30000 x 30000 pixels"),
    ],
)
def test_the_error_says_what_is_too_much(name: str, told: str, fitting: Fitting) -> None:
    """Pixels, memory, scans, segments or chunks, with the number that would be right."""
    assert re.match(told, fitting.outcome(_SMALL[name]()))


@settings(max_examples=60)
@given(st.sampled_from(sorted(_FILES)), st.sampled_from(_SIDES_PX), st.sampled_from(_SIDES_PX))
def test_whatever_sides_a_header_states_the_bounds_hold(
    fitting: Fitting, kind: str, width: int, height: int
) -> None:
    """For every format; the file ends long before its pixels would."""
    fitting.outcome(claiming(kind, _FILES[kind], width, height))
    _check_workers()


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )


def test_what_no_estimate_foresees_ends_at_the_address_space() -> None:
    """An allocation beyond the bound fails; after the image the bound is gone."""
    done = _run("""
        from productsearch_service.images.worker import _bounded
        with _bounded(50_000_000):
            bytes(40_000_000)
            try:
                bytes(60_000_000)
            except MemoryError:
                print("refused")
        bytes(60_000_000)
    """)
    assert ("refused", 0) == (done.stdout.strip(), done.returncode)


def test_work_without_an_end_ends_with_its_cpu_time() -> None:
    """The process is ended by the kernel, whatever code it is in; idle time does not count."""
    done = _run("""
        import time
        from productsearch_service import limits
        from productsearch_service.images.worker import _bounded
        limits.FIT_CPU_S_MAX = 0.2
        with _bounded(50_000_000):
            time.sleep(0.5)
        print("slept", flush=True)
        with _bounded(50_000_000):
            while True:
                sum(range(1_000_000))
    """)
    assert ("slept", -signal.SIGPROF) == (done.stdout.strip(), done.returncode)
