"""Decides whether a failed attempt is worth another one, and how long to wait before it.

Retries help against single failures and make outages worse: so there are few attempts, their
waits are random, and over time one retry for ten calls at most.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from productsearch_service import limits

if TYPE_CHECKING:
    from productsearch_service.deadline import Deadline


class RetryBudget:
    """What may be spent on retries: every call saves a tenth of one. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._saved = limits.RETRY_BUDGET_MAX

    def save(self) -> None:
        """Note a call."""
        with self._lock:
            self._saved = min(self._saved + limits.RETRY_BUDGET_SHARE, limits.RETRY_BUDGET_MAX)

    def spend(self) -> bool:
        """Take what a retry costs; False if there is not enough."""
        with self._lock:
            if self._saved < 1:
                return False
            self._saved -= 1
            return True


def wait_before_retry(
    attempt: int, deadline: Deadline, budget: RetryBudget, *, at_least_s: float
) -> bool:
    """Wait before attempt number ``attempt`` + 1 and return True; False if there is none left.

    The wait is random between nothing and a doubling bound (full jitter) beyond ``at_least_s``,
    and never so long that the deadline leaves no time to call.
    """
    if attempt >= limits.ATTEMPTS_MAX:
        return False
    bound_s = min(limits.BACKOFF_FIRST_S * 2 ** (attempt - 1), limits.BACKOFF_MAX_S)
    wait_s = at_least_s + random.uniform(0, bound_s)  # noqa: S311 - spreading load, no secret
    if deadline.remaining_s() < wait_s + limits.CALL_MIN_S or not budget.spend():
        return False
    time.sleep(wait_s)
    return True
