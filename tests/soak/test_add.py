"""Adds keep their promise while connections break and servers are killed, at a small size."""

from __future__ import annotations

import pytest

from tests.soak import add
from tests.soak.measures import assert_kept


@pytest.mark.slow
def test_adds_keep_their_promise() -> None:
    """What was acknowledged is there, once; what was said is true; nothing hangs."""
    assert_kept(add.run(add.SMALL))
