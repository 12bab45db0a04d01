"""One process in which images are decoded for ``fit``: its start, its socket and its end.

Knows how a process is talked to. Does not know whose image it has, or what takes its place.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from productsearch_service import limits
from productsearch_service.images import frames
from productsearch_service.time_limit import Alarm

_INHERITED: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
"""All that a worker needs of the environment, which may hold secrets."""
_ALLOCATOR: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 1024 * 1024),
}
"""glibc's settings: pixels go back to the system when they are freed, so that a worker is small
between two images."""
_BLOCK_BYTES: Final = 256 * 1024
"""Sent at a time; between two blocks the event loop serves others."""
_SENT_IN_A_THREAD_BYTES: Final = 2 * 1024 * 1024
"""From this size on an image is sent in a thread: in one call of the system, which copies it
without the GIL."""

_BROKEN: Final = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS}
)
"""What ends a process whose decoder breaks. Any other end is somebody else's doing."""
_AT_WORK: Final = "R"
"""As /proc calls a process that computes or waits for a processor."""
_STOPPED: Final = ("T", "t")
"""And one that was stopped, by a signal or a debugger."""


class Lost(Exception):
    """A worker ended in the middle of its work, or was ended because it did nothing any more.

    ``breaks``: a decoder ended it. ``out_of_time``: it had used up the CPU time of an image. With
    neither the image has no part in it.
    """

    def __init__(self, *, breaks: bool = False, out_of_time: bool = False) -> None:
        super().__init__()
        self.breaks = breaks
        self.out_of_time = out_of_time


class _Looks(Alarm):
    """Ends a process that has an image and stands still, as one does that somebody stopped.

    One that computes, or would if it got a processor, is given its time. One that starts waits for
    files: it is ended only if it was stopped.
    """

    __slots__ = ("_before", "_process", "_starts", "_still")

    def __init__(self, process: subprocess.Popen[bytes], *, starts: bool = False) -> None:
        self._process = process
        self._starts = starts
        self._before, self._still = "", 0
        self.set(limits.FIT_LOOK_S)

    def ring(self) -> None:
        """Look again; end the process if it did nothing for FIT_STILL_LOOKS looks in a row."""
        now = _standing(self._process.pid)
        if self._starts and not now.startswith(_STOPPED):
            now = ""
        self._still = self._still + 1 if now and now == self._before else 0
        self._before = now
        if self._still >= limits.FIT_STILL_LOOKS:
            self._process.kill()
        else:
            self.set_again(limits.FIT_LOOK_S)


class Worker:
    """One process, its socket, and whether it can still be used."""

    def __init__(self) -> None:
        """Start the process; blocks for about a millisecond. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", f"{__package__}.worker", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for us; we drain first
                )
        except BaseException:
            ours.close()
            raise
        # Nicer than the event loop from the beginning: to start one is most of what some cost.
        nice = os.getpriority(os.PRIO_PROCESS, 0) + limits.FIT_NICE
        with suppress(OSError):  # a sandbox may not let it
            os.setpriority(os.PRIO_PROCESS, self._process.pid, nice)
        ours.setblocking(False)
        self._socket = ours
        self._users = 0
        """Of the socket: steps on the event loop that wait for it, and threads that send."""
        self._is_killed = False

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    async def ready(self) -> None:
        """Wait until the decoders are loaded; raise Lost, with ``breaks`` if they cannot be."""
        try:
            with self._talking(starts=True):
                kind, _ = await self._receive()
            if kind == frames.READY:
                return
        except Lost as lost:
            if lost.breaks:
                raise
        ended_by = await self._ended_by()
        raise Lost(breaks=ended_by <= 0 or ended_by in _BROKEN)

    async def work(self, kind: int, content: bytes | memoryview) -> tuple[int, bytes]:
        """Return kind and content of the answer to one request; raise Lost."""
        try:
            with self._talking():
                await self._send(frames.HEAD.pack(kind, len(content)))
                await self._send_image(memoryview(content))
                return await self._receive()
        except Lost as lost:
            if lost.breaks:
                raise
        ended_by = await self._ended_by()
        raise Lost(breaks=ended_by in _BROKEN, out_of_time=ended_by == signal.SIGPROF)

    async def _ended_by(self) -> int:
        """Return the signal that ended a process that has closed its socket; at most 0: itself."""
        self._process.kill()  # it may be there for a moment
        return -await asyncio.to_thread(self._process.wait)

    @contextmanager
    def _talking(self, *, starts: bool = False) -> Iterator[None]:
        """Use the socket, and end a process that stands still meanwhile."""
        looks = _Looks(self._process, starts=starts)
        self._users += 1
        try:
            yield
        finally:
            looks.cancel()
            self._left()

    def _left(self) -> None:
        self._users -= 1
        if self._is_killed and not self._users:
            self._socket.close()

    async def _send_image(self, view: memoryview) -> None:
        if len(view) < _SENT_IN_A_THREAD_BYTES:
            for start in range(0, len(view), _BLOCK_BYTES):
                await self._send(view[start : start + _BLOCK_BYTES])
                await asyncio.sleep(0)
            return
        # A thread that sends to a process ends with it: it is not waited for if the call is cut
        # short, and the socket is closed after it.
        self._socket.setblocking(True)
        self._users += 1
        sending = asyncio.get_running_loop().run_in_executor(None, self._socket.sendall, view)
        sending.add_done_callback(self._sent)
        try:
            await asyncio.shield(sending)
        except OSError:
            raise Lost from None
        self._socket.setblocking(False)

    def _sent(self, sending: asyncio.Future[None]) -> None:
        sending.cancelled() or sending.exception()  # it was told to whoever waits, or nobody does
        self._left()

    async def _send(self, part: bytes | memoryview) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, part)
        except OSError:
            raise Lost from None

    async def _receive(self) -> tuple[int, bytes]:
        kind, length = frames.HEAD.unpack(await self._read(frames.HEAD.size))
        # What a decoder was made to do by an image is not trusted further than this.
        if length > (
            limits.IMAGE_ENCODED_BYTES_MAX if kind == frames.FITTED else frames.TEXT_BYTES_MAX
        ):
            raise Lost(breaks=True)
        return kind, await self._read(length)

    async def _read(self, length: int) -> bytes:
        loop = asyncio.get_running_loop()
        content = bytearray(length)
        left = memoryview(content)
        while left:
            try:
                count = await loop.sock_recv_into(self._socket, left)
            except OSError:
                raise Lost from None
            if not count:
                raise Lost
            left = left[count:]
        return bytes(content)

    def kill(self) -> None:
        """End the process now, whatever it does.

        Whoever waits for its answer gets Lost. A socket that the event loop looks at, or a thread
        sends on, must not be closed: that is done once nobody uses it.
        """
        self._process.kill()
        self._is_killed = True
        if not self._users:
            self._socket.close()

    def wait(self) -> None:
        """Wait until a killed process is gone, with its memory; blocks for milliseconds."""
        self._process.wait()


def _standing(pid: int) -> str:
    """Return the state of a process that does not compute and the ticks it has used; else nothing.

    Where the system does not tell (no /proc), FIT_S_MAX alone ends a process that stands still.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return ""
    state, *fields = told.rpartition(")")[2].split()
    used = " ".join(fields[10:12])  # of the program, and of the system for it
    return "" if state == _AT_WORK else f"{state} {used}"


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | _ALLOCATOR
