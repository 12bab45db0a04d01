"""The engine's side of one worker process: starts it, asks it about an image, kills it.

Knows one process. Does not know which image comes next, nor what to do when a process dies:
that is ``pool``'s.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from productsearch_engine import one_thread
from productsearch_engine.embedding.load import UnknownEmbeddingError
from productsearch_engine.images import errors
from productsearch_engine.images.errors import ImageError
from productsearch_engine.limits import ANSWER_BYTES_MAX, JOB_BYTES_MAX
from productsearch_engine.workers import frames
from productsearch_engine.workers.describe import Described, Wanted

_REFUSALS: Mapping[bytes, type[ImageError]] = {
    kind.__name__.encode(): kind
    for kind in (errors.ImageEmptyError, errors.ImageUnreadableError, errors.ImageSizeError)
}
# One thread and one heap: more would only wait for each other. Memory of large images goes back
# to the system; what an ordinary one takes is kept for the next, or each would fault it in anew.
_ENVIRONMENT = {
    **one_thread.ENVIRONMENT,
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
}
_END_S, _LOOK_S = 1.0, 0.005
"""How long a process may take to end after its last word, and how often it is looked at."""
_KEPT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV"),
    "OPENBLAS_CORETYPE",  # other kernels round otherwise: vectors would differ in their last bits
)


class WorkerDiedError(Exception):
    """The process ended in the middle of its work; ``status`` is that of ``subprocess``."""

    def __init__(self, status: int):
        self.status = status
        super().__init__(f"status {status}")


class WorkerFault(Exception):
    """An exception that no image should cause; the text is its traceback."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a process says of itself once it can work."""

    embedding: str
    dimensions: int


class Worker:
    """One process. ``ask`` has one image at a time."""

    def __init__(self, embedding: str, *, cpu_s: float, nice: int):
        """Start the process; ``embedding`` is the name in the settings."""
        ours, theirs = socket.socketpair()
        # -P: what lies in the working directory is no module of ours.
        command = ("-P", "-W", "ignore", "-m", "productsearch_engine.workers.process")
        arguments = map(str, (theirs.fileno(), embedding, JOB_BYTES_MAX, cpu_s, nice))
        self._channel = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={name: os.environ[name] for name in _KEPT if name in os.environ} | _ENVIRONMENT,
            )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def dead(self) -> bool:
        """Return whether the process is known to have ended."""
        return self._process.poll() is not None

    def wait_until_ready(self, within_s: float) -> Ready:
        """Wait without an event loop.

        Raises UnknownEmbeddingError, ChildProcessError, TimeoutError.
        """
        self._channel.settimeout(within_s)
        parts = frames.receive(self._channel)
        if parts is None:
            status = self._process.wait()
            raise ChildProcessError(f"the first worker process ended with status {status}")
        self._channel.setblocking(False)
        return _ready(parts)

    async def ready(self) -> Ready:
        """Wait until the process can work. Raises UnknownEmbeddingError, WorkerDiedError."""
        return _ready(await self._answer())

    async def ask(
        self, wanted: Wanted, content: bytes, copies: Sequence[bytes] = ()
    ) -> Described | bytes:
        """Have an image described, or the glance of one compared with others.

        Raises ImageError, UnknownEmbeddingError, WorkerFault, WorkerDiedError. When it is
        cancelled, the process has to be killed: it would answer the next question with this image.
        """
        writer = (await self._opened())[1]
        try:
            question = wanted.part()
            writer.write(frames.head([question, content, *copies]) + question)
            writer.write(content)
            writer.writelines(copies)
            await writer.drain()
        except OSError:
            pass  # the answer says why, or that there is none
        outcome, *parts = await self._answer()
        if outcome == b"described":
            return Described.of_parts(parts)
        if outcome == b"compared":
            return parts[0]
        if outcome == b"refused" and parts[0] in _REFUSALS:
            raise _refusal(*parts)
        if outcome == b"unknown":
            raise UnknownEmbeddingError(parts[0].decode(errors="replace"))
        raise WorkerFault(parts[0].decode(errors="replace"))

    def kill(self) -> int:
        """End the process if it runs, and return its status."""
        self._process.kill()
        status = self._process.wait()
        if self._streams is None:
            self._channel.close()
        else:
            self._streams[1].close()
        return status

    async def _answer(self) -> list[bytes]:
        reader = (await self._opened())[0]
        try:
            return await frames.read(reader, ANSWER_BYTES_MAX)
        except (asyncio.IncompleteReadError, OSError, frames.FrameError):
            raise WorkerDiedError(await self._ended()) from None

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(sock=self._channel)
        return self._streams

    async def _ended(self) -> int:
        """Return the status of a process that has closed its end, or says nonsense.

        It waits without a thread: there may be none to spare.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                while not self.dead:
                    await asyncio.sleep(_LOOK_S)
        self._process.kill()
        return self._process.wait()


def _refusal(name: bytes, sides: bytes = b"[]") -> ImageError:
    kind = _REFUSALS[name]
    if kind is not errors.ImageSizeError or not (found := json.loads(sides)):
        return kind()
    width, height = map(int, found)
    return errors.ImageSizeError((width, height))


def _ready(parts: Sequence[bytes]) -> Ready:
    if parts[0] == b"unknown":
        raise UnknownEmbeddingError(parts[1].decode())
    return Ready(**json.loads(parts[1]))
