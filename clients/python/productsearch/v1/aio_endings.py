"""How a stream of grpc.aio ended, as the server said.

grpc.aio ends a call with an INTERNAL of its own when a write meets the end of the stream, and the
server's code and details are lost or late. Knows no messages.
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

_WRITE_FAILED: Final = "Internal error from Core"
"""What grpc.aio says where a write fails."""
_LOOK_S: Final = 0.01
_LOOKS_MAX: Final = 200


class Ended(grpc.RpcError):
    """How a call ended, OK included."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: Any) -> None:
        super().__init__(code, details)
        self._told = code, details, trailers

    def code(self) -> grpc.StatusCode:
        """Return the status code."""
        return self._told[0]

    def details(self) -> str:
        """Return the status message."""
        return self._told[1]

    def trailing_metadata(self) -> Any:
        """Return the trailers."""
        return self._told[2]


def first_ending(call: Call) -> asyncio.Future[Ended]:
    """Return how ``call`` will have ended, as it is announced first."""
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def announced(_: object) -> None:
        if not ended.done():
            ended.set_result(_ending(call))

    call.add_done_callback(announced)
    return ended


async def true_ending(call: Call, first: asyncio.Future[Ended]) -> Ended:
    """Return how the server ended ``call``.

    grpc.aio's own INTERNAL can come behind the server's status, which is announced first then, or
    in front of it, and then the status takes its place a moment later, unannounced.
    """
    ended = await first
    for _ in range(_LOOKS_MAX):
        if ended.details() != _WRITE_FAILED:
            break
        await asyncio.sleep(_LOOK_S)
        ended = _ending(call)
    return ended


def _ending(call: Call) -> Ended:
    return Ended(_now(call.code()), _now(call.details()), _now(call.trailing_metadata()))


def _now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        return returned.value
    raise AssertionError("the call has ended and its status is there")
