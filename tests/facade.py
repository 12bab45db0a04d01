"""A facade in this process, for tests that are not asyncio themselves: its loop has a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from productsearch_service.server.compose import Server as AsyncServer
from productsearch_service.settings import Settings

Value = TypeVar("Value")

_PATIENCE_S = 60
_CLOSING_S = 0.02
"""For connections that were closed, to end before their event loop does."""


class Server:
    """The service on an event loop of its own; listens from the beginning, as the real one does.

    What goes wrong in there is raised in the thread that asked for it. After ``stop``, and after a
    start that failed, the loop is closed and its thread has ended.
    """

    def __init__(self, settings: Settings, *, with_admin: bool = False) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="facade", daemon=True)
        self._thread.start()
        try:
            self.service = self.run(_made(settings, with_admin))
        except BaseException:
            self._end()
            raise

    @property
    def port(self) -> int:
        """The port of the service."""
        return self.service.port

    @property
    def admin_port(self) -> int:
        """The gRPC port beside it."""
        return self.service.admin_port

    @property
    def metrics_port(self) -> int:
        """The HTTP port beside it."""
        return self.service.metrics_port

    def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Run a coroutine on the service's loop and return what it returns."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(_PATIENCE_S)
        except TimeoutError:
            future.cancel()
            raise

    def start(self) -> None:
        """Begin to serve."""
        try:
            self.run(self.service.start())
        except BaseException:
            self.stop()
            raise

    def stop(self, _: object = None) -> None:
        """Stop as on SIGTERM; a second stop does nothing."""
        if self._loop.is_closed():
            return
        try:
            self.run(self._stopped())
        finally:
            self._end()

    async def _stopped(self) -> None:
        await self.service.stop(asyncio.Event())

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            raise AssertionError(f"the facade's event loop did not end within {_PATIENCE_S} s")

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_ended())
        finally:
            self._loop.close()


async def _made(settings: Settings, with_admin: bool) -> AsyncServer:
    return AsyncServer(settings, with_admin=with_admin)


async def _ended() -> None:
    """Cancel what is left on the loop, as asyncio.run does."""
    loop = asyncio.get_running_loop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.sleep(_CLOSING_S)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
