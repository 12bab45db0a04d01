"""The import soak at a small size in `make test`, at a middle one in `make test-slow`."""

from __future__ import annotations

import pytest

from tests.soak.imports import MIDDLE, SMALL, run
from tests.soak.measures import assert_kept


def test_an_import_that_is_killed_and_moved_loses_nothing() -> None:
    """60 images, 10 of them bad, three kills, two moves, before an upstream that remembers."""
    assert_kept(run(SMALL))


@pytest.mark.slow
def test_the_same_with_the_engine() -> None:
    """300 images, six kills, and a list of 20,000 rows."""
    assert_kept(run(MIDDLE))
