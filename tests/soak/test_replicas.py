"""Engines that share a PostgreSQL, and it, are killed under a mixed load, at a small size."""

from __future__ import annotations

import pytest

from tests.engine.databases import one_postgresql
from tests.soak import replicas
from tests.soak.measures import assert_kept


@pytest.mark.slow
@one_postgresql
def test_killed_replicas_lose_nothing() -> None:
    """What was acknowledged is there, once; counts are exact, and no library is too full."""
    assert_kept(replicas.run(replicas.SMALL))
