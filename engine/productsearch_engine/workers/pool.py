"""Keeps the worker processes and gives each image to one of them.

There are two lanes. Ordinary images have a process for each core. Large ones have one process
of lower priority, so however many of them come, ordinary images pass them; that also bounds
the memory. In each lane the callers take turns.

Processes are started when images wait for the first time, kept, and replaced when they die.
Knows what the death of a process says of the image that it had. Does not know the contract.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from productsearch_engine.embedding.load import UnknownEmbeddingError
from productsearch_engine.images.errors import ImageError, ImageSizeError, ImageUnreadableError
from productsearch_engine.limits import (
    JOB_ATTEMPTS_MAX,
    JOB_CPU_S,
    JOB_S,
    JOB_WAIT_S,
    LARGE_JOB_CPU_S,
    LARGE_NICE,
    WORKER_PAUSE_MAX_S,
    WORKER_PAUSE_S,
    WORKER_START_S,
)
from productsearch_engine.threads import started as all_started
from productsearch_engine.workers.describe import Described, Task, Wanted
from productsearch_engine.workers.lane import Job, Lane
from productsearch_engine.workers.worker import Ready, Worker, WorkerDiedError

_log = logging.getLogger(__name__)

# How a process ends that an image has crashed.
_CRASHES = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGABRT, -signal.SIGFPE)


Stage = Callable[[str, float, float], None]


class WorkersUnavailableError(Exception):
    """The image was not looked at, through no fault of its own."""


@contextmanager
def started(embedding: str, processes: int, stage: Stage = lambda *_: None) -> Iterator[Workers]:
    """Yield workers of which the first is ready; all end with the context.

    ``processes`` are those for ordinary images; ``stage`` is told of each part of a description:
    its name, its seconds, and how many seconds ago it ended. Raises UnknownEmbeddingError,
    ChildProcessError, TimeoutError.
    """
    first = Worker(embedding, cpu_s=JOB_CPU_S, nice=0)
    try:
        ready = first.wait_until_ready(WORKER_START_S)
        with all_started(1, "processes") as threads:
            yield Workers(embedding, first, ready, processes, threads, stage)
    finally:
        first.kill()


class Workers:
    """Describes images in worker processes; used from one event loop."""

    def __init__(
        self,
        embedding: str,
        first: Worker,
        ready: Ready,
        processes: int,
        threads: Executor,
        stage: Stage = lambda *_: None,
    ):
        """``threads`` start processes: one is enough."""
        self._stage = stage
        self.embedding = ready
        """What the processes embed with."""
        self._setting = embedding
        self._threads = threads
        self._first: Worker | None = first
        self._ordinary = Lane(cpu_s=JOB_CPU_S, nice=0)
        self._large = Lane(cpu_s=LARGE_JOB_CPU_S, nice=LARGE_NICE)
        self._lanes = [self._ordinary] * processes + [self._large]
        self._serving: list[asyncio.Task[None]] = []

    async def describe(
        self, wanted: Wanted, content: bytes, *, caller: int, large: bool
    ) -> Described:
        """Describe an image on behalf of ``caller``, a number of the engine's own.

        Raises ImageEmptyError, ImageUnreadableError, ImageSizeError, UnknownEmbeddingError,
        WorkersUnavailableError, WorkerFault.
        """
        began_s = time.perf_counter()
        described = await self._done(wanted, content, (), caller=caller, large=large)
        if not isinstance(described, Described):
            raise TypeError("a description was asked for")
        if wanted.task is Task.DESCRIBE:
            self._tell_stages(described, time.perf_counter() - began_s)
        return described

    def _tell_stages(self, described: Described, seconds: float) -> None:
        work = {"decode": described.decode_s, "embed": described.embed_s, "copy": described.copy_s}
        left_s = sum(work.values())
        self._stage("process_wait", max(0.0, seconds - left_s), left_s)
        for stage, taken_s in work.items():
            left_s -= taken_s
            if taken_s:
                self._stage(stage, taken_s, left_s)

    async def agreeing(
        self, wanted: Wanted, glance: bytes, others: Sequence[bytes], *, caller: int
    ) -> list[int]:
        """Return how many corners an image shares with each other; raise as ``describe``.

        glance: of the image. others: glances, or small copies of images that have none.
        """
        wanted = replace(wanted, task=Task.COMPARE)
        counts = await self._done(wanted, glance, others, caller=caller, large=False)
        if not isinstance(counts, bytes) or len(counts) != 2 * len(others):
            raise TypeError("a comparison was asked for")
        return list(struct.unpack(f"<{len(others)}H", counts))

    async def _done(
        self, wanted: Wanted, content: bytes, copies: Sequence[bytes], *, caller: int, large: bool
    ) -> Described | bytes:
        if not self._serving:
            self._serving = [asyncio.create_task(self._serve(lane)) for lane in self._lanes]
        outcome: asyncio.Future[Described | bytes] = asyncio.get_running_loop().create_future()
        job = Job(wanted=wanted, content=content, copies=copies, caller=caller, outcome=outcome)
        (self._large if large else self._ordinary).put(job)
        try:
            async with asyncio.timeout(JOB_WAIT_S):
                return await outcome
        except TimeoutError:
            raise WorkersUnavailableError from None

    async def _serve(self, lane: Lane) -> None:
        """Keep one process at work, and another one in its place when it dies."""
        worker, self._first = self._first, None
        try:
            if worker is None:
                await lane.wait()
            while True:
                if worker is None or worker.dead:
                    worker = await self._new(worker, lane)
                await lane.wait()
                if not worker.dead and (job := lane.take()) is not None:
                    await self._do(worker, job, lane)
        finally:
            if worker is not None:
                worker.kill()

    async def _do(self, worker: Worker, job: Job, lane: Lane) -> None:
        try:
            async with asyncio.timeout(JOB_S):
                job.succeed(await worker.ask(job.wanted, job.content, job.copies))
        except (ImageError, UnknownEmbeddingError) as refusal:
            job.fail(refusal)
        except TimeoutError:
            _log.warning("a worker process did not answer in %g s", JOB_S)
            worker.kill()
            job.fail(WorkersUnavailableError())
        except WorkerDiedError as death:
            self._after_death(death.status, job, lane)
        except Exception as error:  # noqa: BLE001 - the caller's error boundary logs it
            worker.kill()
            job.fail(error)

    def _after_death(self, status: int, job: Job, lane: Lane) -> None:
        """Decide whose fault it was."""
        job.attempts += 1
        if status == -signal.SIGPROF and lane is self._ordinary:
            self._large.put(job)
        elif status == -signal.SIGPROF:
            job.fail(ImageSizeError())
        elif status in _CRASHES:
            _log.error("an image crashed a worker process: status %d", status)
            job.fail(ImageUnreadableError())
        elif job.attempts < JOB_ATTEMPTS_MAX:
            lane.put_back(job)
        else:
            job.fail(WorkersUnavailableError())

    async def _new(self, old: Worker | None, lane: Lane) -> Worker:
        """Return a process that is ready, however long that takes."""
        if old is not None:
            _log.warning("a worker process ended: status %d", old.kill())
        pause_s = WORKER_PAUSE_S
        while (worker := await self._try_new(lane)) is None:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, WORKER_PAUSE_MAX_S)
        return worker

    async def _try_new(self, lane: Lane) -> Worker | None:
        try:
            start = partial(Worker, self._setting, cpu_s=lane.cpu_s, nice=lane.nice)
            worker = await asyncio.get_running_loop().run_in_executor(self._threads, start)
        except OSError as error:
            _log.error("no worker process: %s", error.strerror)
            return None
        try:
            async with asyncio.timeout(WORKER_START_S):
                if await worker.ready() == self.embedding:
                    return worker
            _log.error("a new worker process embeds in another way: the engine was replaced")
        except (WorkerDiedError, TimeoutError, UnknownEmbeddingError) as error:
            _log.error("a worker process did not start: %s", error)
        except BaseException:
            worker.kill()
            raise
        worker.kill()
        return None
