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
    grace_s = 0.0 if hurry.is_set() else settings.drain_grace_s
    admission.cut_off_after(grace_s)
    ended = asyncio.create_task(server.stop(grace_s))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({ended, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not ended.done():
        admission.cut_off_after(0)
        await server.stop(0)
    await ended
    if admission.cut_off:
        _log.warning("%d calls were cut off: the drain grace was over", admission.cut_off)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
