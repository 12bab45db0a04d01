"""The mixed soak at a small size, without what only many calls can tell."""

from __future__ import annotations

from tests.soak.measures import assert_kept
from tests.soak.mixed import run


def test_every_kind_of_call_comes_to_what_it_should() -> None:
    """4,000 mixed RPCs: documented outcomes only, and no thread or descriptor is left over."""
    assert_kept(run(4000))
