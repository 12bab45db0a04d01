"""The mixed soak at a small size, without what only many calls can tell."""

from __future__ import annotations

import pytest

from tests.soak.measures import assert_kept
from tests.soak.mixed import MANY_CANCELS, run
from tests.soak.mixed_calls import CANCELS


@pytest.mark.parametrize("cancels", [CANCELS, pytest.param(MANY_CANCELS, marks=pytest.mark.slow)])
def test_every_kind_of_call_comes_to_what_it_should(cancels: int) -> None:
    """4,000 mixed RPCs: documented outcomes only; no thread, descriptor or memory is left over."""
    assert_kept(run(4000, cancels=cancels))
