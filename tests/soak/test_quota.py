"""Small versions of the quota and overload soaks."""

from __future__ import annotations

import pytest

from tests.soak import overload, overload_deadlines, quota
from tests.soak.measures import assert_kept


def test_the_quota_is_used_and_shared() -> None:
    """Five virtual minutes of each scenario keep all bars."""
    assert_kept(quota.measures(300))


@pytest.mark.slow
def test_an_outage_is_short_and_quiet() -> None:
    """Down for six seconds: few calls meanwhile, service again soon, no spike."""
    assert_kept(overload.upstream_down(6))


@pytest.mark.slow
def test_cancelled_calls_leave_nothing_behind() -> None:
    """500 cancels at random times: no thread, descriptor, place or memory is lost."""
    assert_kept(overload.cancels(500))


def test_images_by_the_dozen_are_answered_or_refused() -> None:
    """96 callers with 2.85 MB each: answered or SERVER_OVERLOADED, memory bounded."""
    assert_kept(overload.large_images(96))


def test_calls_that_outlive_their_time_are_counted() -> None:
    """Whichever call had which time; one that never came took none."""
    assert 0 == overload_deadlines.late_of([0.5, 2.0], [1.0, 0.5, 2.0], 0.05)
    assert 1 == overload_deadlines.late_of([0.5, 2.2, 0.2], [1.0, 0.5, 2.0], 0.05)
    assert 2 == overload_deadlines.late_of([2.2, 2.2], [1.0, 0.5, 2.0], 0.05)
