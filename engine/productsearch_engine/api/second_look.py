"""Decides when a search takes a second look, and what it changes: knows scores and nothing else.

A second look compares the image with the small copies of the leaders, corner by corner. It only
raises scores, and only of hits that were close to the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from productsearch_engine.limits import SECOND_LOOK_MAX

_DOUBT = 0.1
"""Scores closer to the first one than this leave open which of them is right: so wide is one of the
bins in which docs/evaluation.md counts how far scores can be trusted."""

_A_CORNER = 0.005
_CORNERS_MAX = 60
_SCORE_MAX = 0.99
"""Only the very same image is 1."""


def in_doubt(scores: Sequence[float], *, same: bool) -> int:
    """Return how many of the first hits a second look is worth; 0 for none.

    scores: of the hits, best first. same: the first one is the very image searched with.
    """
    if same or not scores:
        return 0
    close = sum(scores[0] - score < _DOUBT for score in scores[:SECOND_LOOK_MAX])
    return close if close > 1 else 0


def raised(scores: Sequence[float], agreeing: Sequence[int]) -> list[float]:
    """Return the scores of hits in doubt after a second look, not sorted.

    agreeing: how many corners each hit has in common with the image searched with.
    """
    return [
        max(score, min(score + _A_CORNER * min(count, _CORNERS_MAX), _SCORE_MAX))
        for score, count in zip(scores, agreeing, strict=True)
    ]
