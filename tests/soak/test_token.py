"""The token soak at a small size; each family keeps its bars."""

from __future__ import annotations

import pytest

from tests.soak import token
from tests.soak.measures import assert_kept
from tests.soak.token import SMALL, Family

# Known defects: these fail with ``--runxfail`` until the service is mended.
_SHORT = {
    token.secret_swaps: pytest.mark.xfail(
        reason="a read gives up at its second swap, and swaps come faster here", strict=False
    )
}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=_SHORT.get(family, ()), id=family.__name__)
        for family in token.FAMILIES
    ],
)
def test_the_bars_are_kept(family: Family) -> None:
    """Every measure of the family keeps its bar."""
    print(f"seed {SMALL.seed}")
    assert_kept(family(SMALL))


@pytest.mark.xfail(reason="the 15 min before expiry leave short tokens no spread", strict=True)
@pytest.mark.parametrize("lifetime_s", [1800, 3600])
def test_replicas_with_short_lived_tokens_refresh_apart_too(lifetime_s: int) -> None:
    """Tokens of half an hour and an hour: a hundred replicas do not refresh in one second."""
    assert_kept(token.replicas(SMALL, lifetime_s))
