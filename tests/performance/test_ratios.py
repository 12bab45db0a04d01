"""What benchmarks compute from their rounds; timed ratios are measured by `make bench` alone."""

from __future__ import annotations

import pytest

from benchmarks import crowd, encoder, images

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
