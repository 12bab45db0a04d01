"""Makes one unary call and waits where the service says that waiting helps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc

from productsearch.cli.image_steps import step_for
from productsearch.cli.output import note
from productsearch.cli.rpc_failures import failure_of, reason_name
from productsearch.cli.waiting import in_words
from productsearch.v1 import retry_delay_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from productsearch.cli.failures import Failure

_WAIT_MIN_S = 0.05
_WAIT_TOLD_S = 1.0
"""A wait as long as this is told: else the command seems to hang."""


def patiently(method: Callable[..., Any], request: Any, timeout_s: float, doing: str) -> Any:
    """Return the answer. Repeats the call after each retry delay while ``timeout_s`` allows.

    Raises Failure.
    """
    end_s = time.monotonic() + timeout_s
    earlier: grpc.RpcError | None = None
    while True:
        left_s = end_s - time.monotonic()
        try:
            return method(request, timeout=max(left_s, 0.001))
        except grpc.RpcError as error:
            if earlier is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _failure(earlier, request, doing) from None  # it says more
            earlier = error
            delay_s = retry_delay_of(error)
            if delay_s is None or time.monotonic() + delay_s >= end_s:
                raise _failure(error, request, doing) from None
            if delay_s >= _WAIT_TOLD_S:
                why = reason_name(error).lower().replace("_", " ")
                note(f"{doing}: {why}, trying again {in_words(delay_s)} (Ctrl-C ends)")
            time.sleep(max(delay_s, _WAIT_MIN_S))


def _failure(error: grpc.RpcError, request: Any, doing: str) -> Failure:
    failure = failure_of(error, doing)
    failure.next_step = step_for(request, failure.reason, failure.what) or failure.next_step
    return failure
