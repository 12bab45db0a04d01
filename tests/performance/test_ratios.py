"""What benchmarks compute from their rounds; timed ratios are measured by `make bench` alone."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import crowd, encoder, engine_search, images

_ROUNDS = 3


def test_the_encoder_takes_little_more_memory_than_the_form_value() -> None:
    """No more than three times the form value at its peak, where the bar is 2.2."""
    assert 1 <= encoder.peak(images.of_size(images.SIZES["2.9 MB"])) <= 3


def test_a_curve_is_told_from_its_own_rounds() -> None:
    """A minute in which all is dearer, and one point that went wrong, do not bend a curve."""
    curve, slow, disturbed = [3.0, 2.0, 2.0, 2.0], [6.0, 4.0, 4.0, 4.0], [3.0, 2.0, 9.0, 2.0]
    assert pytest.approx(1.5) == crowd.most_over_least([curve, slow, disturbed])
    assert pytest.approx(1.25) == (
        crowd.most_over_least([[2.0, 2.0, 2.0, 2.5], slow, [2.0, 2.0, 2.0, 2.5]])
    )


def test_recall_counts_what_belongs_there_alone() -> None:
    """Images that the filter keeps out are no finds, and equal ones are as good as each other."""
    cosines, allowed = np.array([0.9, 0.8, 0.7, 0.6, 0.6], np.float32), np.array([1, 2, 3, 4])
    assert pytest.approx(1) == engine_search.recall_of({1, 2}, cosines, allowed, 2)
    assert pytest.approx(0.5) == engine_search.recall_of({0, 1}, cosines, allowed, 2)
    assert pytest.approx(0.5) == engine_search.recall_of({1, 3}, cosines, allowed, 2)
    assert pytest.approx(1) == engine_search.recall_of({1, 2, 4}, cosines, allowed, 3)
    assert 0 == engine_search.recall_of(set(), cosines, allowed, 2)
