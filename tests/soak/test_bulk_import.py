"""Imports that are killed: the soak at a small size."""

from __future__ import annotations

import random

import pytest

from tests.soak.bulk_import import SMALL, run
from tests.soak.measures import assert_kept


@pytest.mark.slow
def test_an_import_that_is_killed_goes_on() -> None:
    """Whenever it is killed, and PostgreSQL with it: no row is lost, and none is there twice."""
    measures = run(SMALL, random.randrange(10**6))
    assert_kept([each for each in measures if "a second" not in each.name])
