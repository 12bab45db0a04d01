"""Decides whether a failed attempt is worth another one, and how long to wait before it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from productsearch_service import limits
from productsearch_service.upstream.codes import QPS_EXCEEDED

if TYPE_CHECKING:
    from productsearch_service.deadline import Deadline


def back_off(attempt: int, code: int, deadline: Deadline) -> bool:
    """Wait before attempt number ``attempt`` + 1 and return True; False if there is none left.

    The wait is random between nothing and a doubling bound (full jitter), at least a second
    after the upstream's error 18, and never so long that the deadline leaves no time to call.
    """
    if attempt >= limits.ATTEMPTS_MAX:
        return False
    bound_s = min(limits.BACKOFF_FIRST_S * 2 ** (attempt - 1), limits.BACKOFF_MAX_S)
    wait_s = random.uniform(0, bound_s)  # noqa: S311 - spreading load, no secret
    if code == QPS_EXCEEDED:
        wait_s += limits.QPS_BACKOFF_MIN_S
    if deadline.remaining_s() < wait_s + limits.CALL_MIN_S:
        return False
    time.sleep(wait_s)
    return True
