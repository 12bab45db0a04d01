"""The messages between the engine and a worker process: a list of byte strings each.

A message is the number of parts, the length of each, and the parts: all numbers are four
bytes, little endian. It cannot hold objects, so a process that a hostile image has taken over
can say nothing but bytes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence

PARTS_MAX = 8


class FrameError(Exception):
    """A message has more parts or more bytes than it may have."""


def head(parts: Sequence[bytes]) -> bytes:
    """Return what comes before the parts."""
    return struct.pack(f"<{len(parts) + 1}I", len(parts), *map(len, parts))


def send(channel: socket.socket, parts: Sequence[bytes]) -> None:
    """Send a message. Raises OSError."""
    channel.sendall(head(parts))
    for part in parts:
        channel.sendall(part)


def receive(channel: socket.socket) -> list[bytes] | None:
    """Return the next message, None when the other side has closed. Raises OSError."""
    first = channel.recv(4, socket.MSG_WAITALL)
    if len(first) < 4:
        return None
    count = struct.unpack("<I", first)[0]
    sizes = struct.unpack(f"<{count}I", channel.recv(4 * count, socket.MSG_WAITALL))
    return [_exactly(channel, size) for size in sizes]


def _exactly(channel: socket.socket, size: int) -> bytes:
    """Return ``size`` bytes."""
    part = bytearray(size)
    view = memoryview(part)
    while view:
        taken = channel.recv_into(view)
        if not taken:
            raise EOFError
        view = view[taken:]
    return bytes(part)


async def read(reader: asyncio.StreamReader, bytes_max: int) -> list[bytes]:
    """Return the next message.

    Raises asyncio.IncompleteReadError when the other side has closed, FrameError, OSError.
    """
    count = struct.unpack("<I", await reader.readexactly(4))[0]
    if count > PARTS_MAX:
        raise FrameError
    sizes = struct.unpack(f"<{count}I", await reader.readexactly(4 * count))
    if sum(sizes) > bytes_max:
        raise FrameError
    return [await reader.readexactly(size) for size in sizes]
