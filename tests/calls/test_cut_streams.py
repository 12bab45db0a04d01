"""A stream that the facade ends while its read waits: HTTP/2 resets it, whatever the caller does.

gRPC resets no stream as long as a read of it waits, and keeps what has come of its message.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from productsearch_service import limits
from tests.calls import http2
from tests.calls.silent import Silence, calls_of_grpc, connected, policy_file
from tests.calls.test_silence import searched
from tests.calls.test_silence_streams import OWN, PLACES, added, item, open_streams, stuck
from tests.calls.watching import until
from tests.conftest import ServerFactory

INITIAL_WINDOW_SIZE = 4
HEAD = struct.Struct(">BBI")
PING, ACK = 6, 1
PATIENCE_S = 20.0


def frames(line: socket.socket) -> Iterator[tuple[int, int]]:
    """Yield kind and stream of each frame that comes, and answer those that ask for it."""
    line.settimeout(PATIENCE_S)
    with line.makefile("rb") as coming:
        while size := coming.read(3):
            kind, flags, stream = HEAD.unpack(coming.read(HEAD.size))
            payload = coming.read(int.from_bytes(size))
            if kind in (http2.SETTINGS, PING) and not flags & ACK:
                line.sendall(http2.frame(kind, ACK, 0, payload if kind == PING else b""))
            yield kind, stream


def test_a_stream_that_is_cut_while_its_read_waits_is_reset(
    server: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller without room for a result, from which the rest of an item is awaited."""
    monkeypatch.setattr(limits, "BULK_UNREAD_S", 0.2)
    running = server(policy_file=policy_file(tmp_path), bulk_silence_s=0.3)
    assert {"OK"} == searched(running, "two")
    bad = item(1)
    bad.item.new_image.image.content = b"none"
    content = bad.SerializeToString()
    first = b"\0" + struct.pack(">I", len(content)) + content
    begun = b"\0" + struct.pack(">I", 1 << 20) + bytes(10_000)
    with (
        connected(running) as channel,
        Silence(channel) as silence,
        socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as line,
    ):
        no_room = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
        line.sendall(http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0, no_room))
        fields = http2.head("BulkAddImages", "one")
        line.sendall(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, fields))
        line.sendall(http2.frame(http2.DATA, 0, 1, first + begun))
        until(lambda: stuck(running) == 1)
        silence.streams("one", OWN - 1)
        silence.streams("two", PLACES - OWN)
        until(lambda: open_streams(running) == PLACES)
        until(lambda: "OK" == added(running, "three"))
        until(lambda: calls_of_grpc(running) == PLACES - 1 == open_streams(running))
        assert (http2.RESET, 1) in frames(line)
