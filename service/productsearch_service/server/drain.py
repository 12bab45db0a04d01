"""Stops a server without failing a call: say so, serve on, refuse in words, end with grace."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import grpc

from productsearch_service import limits
from productsearch_service.rpc.admission import Admission
from productsearch_service.settings import Settings

_log = logging.getLogger(__name__)

_NO_END_S = 86_400.0


async def drain(
    server: grpc.aio.Server, admission: Admission, hurry: asyncio.Event, settings: Settings
) -> None:
    """Serve on for the drain delay, then end within the grace; ``hurry`` cuts both short.

    Health says NOT_SERVING before this begins. Whoever balances calls needs the delay to notice;
    without it each new call in that window fails.
    """
    _log.info("stopping: not ready any more, serving on for the drain delay")
    await _wait(hurry, settings.drain_delay_s)
    admission.drain()
    # Calls that still come are refused in words, for a moment: grpc would cut them off.
    await _wait(hurry, min(limits.DRAIN_REFUSAL_S, settings.drain_delay_s))
    admission.end_silent()
    admission.cut_off_after(0.0 if hurry.is_set() else settings.drain_grace_s)
    # The grace is not gRPC's: two stops that each wait for one can use a server that is gone.
    ended = asyncio.create_task(server.stop(_NO_END_S))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait(
        {ended, hurried}, timeout=settings.drain_grace_s, return_when=asyncio.FIRST_COMPLETED
    )
    hurried.cancel()
    if not ended.done():
        admission.cut_off_after(0)
        # Whoever repeats UNAVAILABLE by itself must not repeat an add: those are told in words.
        if admission.end_adds():
            await asyncio.wait({ended}, timeout=2 * limits.DRAIN_READ_S)
        await server.stop(None)
    await ended
    if admission.cut_off:
        _log.warning("%d calls were cut off: the drain grace was over", admission.cut_off)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
