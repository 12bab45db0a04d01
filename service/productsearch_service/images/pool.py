"""The processes in which images are decoded for ``fit``, seen from the event loop.

A process is started when it is first needed and then kept. It is killed when its image's caller has
left (at the deadline, too), when its time is over, and at the end; another one takes its place.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from productsearch_service import limits
from productsearch_service.errors import ServerFault, ServerOverloaded, ServiceError
from productsearch_service.images import frames
from productsearch_service.images.inspect import SizeInvalid, Unreadable
from productsearch_service.images.worker_process import Lost, Worker
from productsearch_service.turns import Turns

_log = logging.getLogger(__name__)

_TOO_SLOW: Final = (
    f"decoding the image takes longer than {limits.FIT_CPU_S_MAX:.0f} s; "
    "send one with fewer pixels, a JPEG as baseline and not progressive"
)
_BREAKS: Final = "the image breaks its decoder; save it anew"
_LOST: Final = "the processes of fit on this replica were ended or stopped; repeat the call"
_NO_TIME: Final = "the processes of fit on this replica get too little of a processor"
_WRONG: Final = {frames.UNREADABLE: Unreadable, frames.SIZE_INVALID: SizeInvalid}


def _overloaded(why: str) -> ServerOverloaded:
    return ServerOverloaded(why, retry_after_s=limits.OVERLOAD_RETRY_S)


class Slot:
    """A place for one worker."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._ready: asyncio.Task[Worker] | None = None
        self._must_be_replaced = self._closed = False

    @property
    def pid(self) -> int | None:
        """The id of its process, if there is one."""
        return None if self._worker is None else self._worker.pid

    async def work(self, kind: int, content: bytes | memoryview) -> tuple[int, bytes]:
        """Have one image worked on and return the answer; kill the worker if that is cut short.

        Raises Lost, TimeoutError, ServerOverloaded or ServerFault.
        """
        # A worker that is being started is not the caller's: it gets ready even if that leaves.
        worker = await asyncio.shield(self._ready_worker())
        try:
            async with asyncio.timeout(limits.FIT_S_MAX):
                return await worker.work(kind, content)
        except BaseException:
            worker.kill()
            self._must_be_replaced = True
            raise

    async def replaced(self) -> None:
        """Wait until a worker that was killed is gone, and another one is ready if it can be."""
        if self._must_be_replaced and self._worker is not None:
            await asyncio.to_thread(self._worker.wait)
            self._must_be_replaced = False
            with suppress(ServiceError):
                await self._begin()

    def close(self) -> None:
        """End its worker; blocks for some milliseconds."""
        self._closed = True
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()

    def _ready_worker(self) -> asyncio.Task[Worker]:
        """Return the task that has, or will have, a worker that is ready."""
        ready = self._ready
        if ready is None:
            return self._begin()
        failed = ready.done() and (ready.cancelled() or ready.exception() is not None)
        if failed or (ready.done() and ready.result().has_ended()):
            return self._begin()
        return ready

    def _begin(self) -> asyncio.Task[Worker]:
        self._ready = asyncio.create_task(self._start())
        self._ready.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._ready

    async def _start(self) -> Worker:
        if self._closed:
            raise ServerFault("the service has stopped")
        try:
            worker = await asyncio.to_thread(self._spawn)
        except OSError as error:
            _log.error("no process can be started for fit: %s", error.strerror)
            raise _overloaded("no process can be started for fit") from None
        try:
            async with asyncio.timeout(limits.FIT_START_S_MAX):
                await worker.ready()
        except BaseException as failure:
            worker.kill()
            if not isinstance(failure, (Lost, TimeoutError)):
                raise
            if isinstance(failure, Lost) and (failure.breaks or self._closed):
                if not self._closed:
                    _log.error("a process of fit ended before it was ready")
                raise ServerFault("the service failed") from None
            _log.warning("a process of fit was ended, or stood still, before it was ready")
            raise _overloaded(_LOST if isinstance(failure, Lost) else _NO_TIME) from None
        return worker

    def _spawn(self) -> Worker:
        """Start a process; it is found by ``close`` even if nobody waits for it any more."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
        self._worker = Worker()
        if self._closed:
            self.close()
        return self._worker


class Pool:
    """All workers of one service.

    A caller has one worker at most, and others find theirs ready: a worker that was killed is its
    caller's until another one has taken its place. An image that needs much memory is decoded while
    no other is; nobody overtakes it.
    """

    def __init__(self) -> None:
        self._turns = Turns(
            limits.FIT_AT_ONCE,
            waiting_max=limits.WAITING_MAX,
            bytes_max=limits.FIT_LARGE_MEMORY_BYTES,
        )
        self._slots = tuple(Slot() for _ in range(limits.FIT_AT_ONCE))
        self._idle = list(self._slots)
        self._replacing: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """The ids of the processes there are."""
        return [slot.pid for slot in self._slots if slot.pid is not None]

    @property
    def at_work(self) -> int:
        """How many workers have an image."""
        return len(self._slots) - len(self._idle)

    async def fit(self, content: bytes | memoryview, caller: str = "") -> bytes | memoryview:
        """Return what ``fit.fit`` makes of an image, or the image if it makes nothing of it.

        Raises Unreadable or SizeInvalid; ServerOverloaded or ServerFault if there is no process
        for it, or none that stays at work.
        """
        request, broken, lost = frames.ORDER, 0, 0
        while True:
            try:
                kind, made = await self._work(request, content, caller)
            except TimeoutError:  # and it had not used up the CPU time of an image meanwhile
                raise _overloaded(_NO_TIME) from None
            except Lost as ended:
                if ended.out_of_time:
                    raise SizeInvalid(_TOO_SLOW) from None
                # Somebody else may have ended it: another one is given the image once.
                broken, lost = broken + ended.breaks, lost + (not ended.breaks)
                _log.warning("a process of fit ended, or stood still, while it had an image")
                if broken > 1:
                    raise Unreadable(_BREAKS) from None
                if lost > 1:
                    raise _overloaded(_LOST) from None
                continue
            if kind == frames.FITTED:
                return made
            if kind == frames.UNCHANGED:
                return content
            if kind == frames.MORE_MEMORY and request == frames.ORDER:
                request = frames.ORDER_LARGE
                continue
            if kind not in _WRONG:
                _log.error("fit failed in an unforeseen way: %s", made.decode("utf-8", "replace"))
                raise ServerFault("the service failed")
            raise _WRONG[kind](made.decode("utf-8", "replace"))

    async def _work(
        self, request: int, content: bytes | memoryview, caller: str
    ) -> tuple[int, bytes]:
        large = request == frames.ORDER_LARGE
        memory_bytes = limits.FIT_LARGE_MEMORY_BYTES if large else limits.FIT_MEMORY_BYTES
        await self._turns.take(caller, memory_bytes)
        slot = self._idle.pop()
        try:
            answer = await slot.work(request, content)
        except BaseException:
            task = asyncio.create_task(self._replace(slot, caller, memory_bytes))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)
            raise
        self._idle.append(slot)
        self._turns.give(caller, memory_bytes)
        return answer

    async def _replace(self, slot: Slot, caller: str, memory_bytes: int) -> None:
        """Free a place once the process that had it is gone, and another one is ready."""
        try:
            await slot.replaced()
        finally:
            self._idle.append(slot)
            self._turns.give(caller, memory_bytes)

    def close(self) -> None:
        """End all workers, whatever they do."""
        for slot in self._slots:
            slot.close()
