"""Decides whether a failed attempt is worth another one, and how long to wait before it.

Retries help against single failures and make outages worse: so there are few attempts, their
waits are random, and over time one retry for ten calls at most.
"""

from __future__ import annotations

import random

from productsearch_service import limits
from productsearch_service.call_context import Deadline


class RetryBudget:
    """What may be spent on retries: every call saves a tenth of one."""

    def __init__(self) -> None:
        self._saved = limits.RETRY_BUDGET_MAX
        self._calls_seen = 0

    @property
    def left(self) -> float:
        """Return how many retries it has saved up."""
        return self._saved

    def spend(self, calls: int) -> bool:
        """Take what a retry costs after so many calls in all; False if there is not enough."""
        earned = (calls - self._calls_seen) * limits.RETRY_BUDGET_SHARE
        self._calls_seen = calls
        self._saved = min(self._saved + earned, limits.RETRY_BUDGET_MAX)
        if self._saved < 1:
            return False
        self._saved -= 1
        return True


def wait_before_retry(
    attempt: int, attempts_max: int, deadline: Deadline, *, at_least_s: float, took_s: float
) -> float | None:
    """Return the seconds to wait before attempt number ``attempt`` + 1; None: make no other one.

    The wait is random between nothing and a doubling bound (full jitter) beyond ``at_least_s``.
    Another attempt must have the time that the last one took, ``took_s``: with less it would end at
    the deadline and hide why this one failed.
    """
    if attempt >= attempts_max:
        return None
    bound_s = min(limits.BACKOFF_FIRST_S * 2 ** (attempt - 1), limits.BACKOFF_MAX_S)
    wait_s = at_least_s + random.uniform(0, bound_s)  # noqa: S311 - spreading load, no secret
    needed_s = wait_s + max(took_s, limits.CALL_MIN_S)
    return wait_s if deadline.remaining_s() >= needed_s else None
