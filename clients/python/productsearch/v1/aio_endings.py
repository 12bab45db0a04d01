"""Finds the status that the server ended a stream of grpc.aio with.

If a write fails because the stream has ended, grpc.aio sets the status INTERNAL of its own. The
server's status is then overwritten, or set later. Knows no messages.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import TypeAlias

    import grpc.aio

    Call: TypeAlias = grpc.aio.StreamStreamCall[Any, Any]

WRITE_FAILED: Final = "Internal error from Core"
"""The details of grpc.aio's own INTERNAL; test_aio_endings.py fails if they change."""
_POLL_S: Final = 0.01
_POLLS_MAX: Final = 200


class Ended(grpc.RpcError):
    """The status that a call ended with, OK included."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: Any) -> None:
        super().__init__(code, details)
        self._status = code, details, trailers

    def code(self) -> grpc.StatusCode:
        """Return the status code."""
        return self._status[0]

    def details(self) -> str:
        """Return the status message."""
        return self._status[1]

    def trailing_metadata(self) -> Any:
        """Return the trailers."""
        return self._status[2]


def first_ending(call: Call) -> asyncio.Future[Ended]:
    """Return a future of the status at the time of the call's done callback."""
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def on_done(_: object) -> None:
        if not ended.done():
            ended.set_result(_ending(call))

    call.add_done_callback(on_done)
    return ended


async def true_ending(call: Call, first: asyncio.Future[Ended]) -> Ended:
    """Return the status that the server ended ``call`` with.

    If the server's status arrived before grpc.aio's own INTERNAL, it is in ``first``. If it arrives
    after, it replaces the INTERNAL without another callback, so it is polled for.
    """
    ended = await first
    for _ in range(_POLLS_MAX):
        if ended.details() != WRITE_FAILED:
            break
        await asyncio.sleep(_POLL_S)
        ended = _ending(call)
    return ended


def _ending(call: Call) -> Ended:
    return Ended(_now(call.code()), _now(call.details()), _now(call.trailing_metadata()))


def _now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that does not wait: the call is done."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        return returned.value
    raise AssertionError("the call has ended and its status is there")
