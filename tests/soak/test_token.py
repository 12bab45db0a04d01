"""The token soak at a small size; each family keeps its bars."""

from __future__ import annotations

import pytest

from tests.soak import token
from tests.soak.measures import assert_kept
from tests.soak.token import Family
from tests.soak.token_stage import SMALL


@pytest.mark.parametrize("family", token.FAMILIES, ids=lambda family: family.__name__)
def test_the_bars_are_kept(family: Family) -> None:
    """Every measure of the family keeps its bar."""
    print(f"seed {SMALL.seed}")
    assert_kept(family(SMALL))


@pytest.mark.parametrize("lifetime_s", [1800, 3600])
def test_replicas_with_short_lived_tokens_refresh_apart_too(lifetime_s: int) -> None:
    """Tokens of half an hour and an hour: a hundred replicas do not refresh in one second."""
    assert_kept(token.replicas(SMALL, lifetime_s))
