"""One process in which images are decoded for ``fit``: its start, its socket and its end.

Knows how a process is talked to. Does not know whose image it has, or what takes its place.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from productsearch_service import limits
from productsearch_service.images import frames

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


class Lost(Exception):
    """A worker ended in the middle of its work."""


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
        self._is_awaited = False

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    async def ready(self) -> None:
        """Wait until the decoders are loaded; raise Lost if they cannot be."""
        with self._awaited():
            kind, _ = await self._receive()
        if kind != frames.READY:
            raise Lost

    async def work(self, kind: int, content: bytes) -> tuple[int, bytes]:
        """Return kind and content of the answer to one request; raise Lost."""
        with self._awaited():
            await self._send(frames.HEAD.pack(kind, len(content)))
            view = memoryview(content)
            for start in range(0, len(view), _BLOCK_BYTES):
                await self._send(view[start : start + _BLOCK_BYTES])
                await asyncio.sleep(0)
            return await self._receive()

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        self._is_awaited = True
        try:
            yield
        finally:
            self._is_awaited = False

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
            raise Lost
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

        Whoever waits for its answer gets Lost, and calls this again: a socket that the event loop
        looks at must not be closed.
        """
        self._process.kill()
        if not self._is_awaited:
            self._socket.close()

    def wait(self) -> None:
        """Wait until a killed process is gone, with its memory; blocks for milliseconds."""
        self._process.wait()


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | _ALLOCATOR
