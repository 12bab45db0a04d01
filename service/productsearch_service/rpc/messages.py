"""Receives the messages of unary calls: in turns, within a limit of time, until the replica stops.

A call that says nothing holds a place for as long as a message may take. A call without a place
waits for half of that time, so whatever a caller began and left is gone within that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import grpc

from productsearch_service import limits
from productsearch_service.call_context import CallContext
from productsearch_service.errors import (
    DeadlineTooShort,
    FieldInvalid,
    ServerDraining,
    ServerOverloaded,
    ServiceError,
    Violation,
)
from productsearch_service.rpc.turns import Turns

Value = TypeVar("Value")

_WAIT_SHARE: Final = 0.5


class Messages:
    """The messages that are received, and the calls that wait for that."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._timers: set[asyncio.Timeout] = set()
        self._over = False

    async def receive(self, context: CallContext, grpc_context: Any, timeout_s: float) -> bytes:
        """Return the message of a unary call, received within ``timeout_s`` of its turn.

        Raises FieldInvalid if none came, ServerOverloaded if its turn did not come, and what the
        deadline or the end of the replica ask for.
        """
        caller = context.caller.name
        if not self._turns.take_now(caller):
            try:
                await self._within(timeout_s * _WAIT_SHARE, context, self._turns.take(caller))
            except TimeoutError:
                raise self._why(context, _busy) from None
        try:
            content = await self._within(timeout_s, context, grpc_context.read())
        except TimeoutError:
            raise self._why(context, lambda: _late(timeout_s)) from None
        finally:
            self._turns.give(caller)
        if content is grpc.aio.EOF:
            raise wrong_request("missing; send one message with the call")
        return cast("bytes", content)

    def end_all(self) -> None:
        """End all calls whose message has not come: the replica stops."""
        self._over = True
        now_s = asyncio.get_running_loop().time()
        for timer in self._timers:
            if not timer.expired():
                timer.reschedule(now_s)

    async def _within(self, seconds: float, context: CallContext, work: Awaitable[Value]) -> Value:
        timer = asyncio.timeout(min(seconds, context.deadline.remaining_s()))
        self._timers.add(timer)
        try:
            async with timer:
                return await work
        finally:
            self._timers.discard(timer)

    def _why(self, context: CallContext, otherwise: Callable[[], ServiceError]) -> ServiceError:
        """Return why a call's time was over."""
        if self._over:
            return stopping()
        try:
            context.deadline.require()
        except DeadlineTooShort as error:
            return error
        return otherwise()


def stopping() -> ServerDraining:
    """Return the refusal of a replica that is about to stop."""
    return ServerDraining(
        "this replica is about to stop; call again and another one answers",
        retry_after_s=limits.DRAIN_RETRY_S,
    )


def wrong_request(described: str) -> FieldInvalid:
    """Return the error of a request that is no message."""
    return FieldInvalid(f"request: {described}", violations=(Violation("request", described),))


def _late(timeout_s: float) -> FieldInvalid:
    return wrong_request(f"did not arrive within {timeout_s:g} s; send it with the call")


def _busy() -> ServerOverloaded:
    return ServerOverloaded(
        "this replica receives as many requests as it may; call again",
        retry_after_s=limits.OVERLOAD_RETRY_S,
    )
