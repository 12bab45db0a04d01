"""Calls that are begun and reset at once, by the thousand on one connection."""

from __future__ import annotations

import socket
import struct

import pytest

from productsearch import v1
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream
from tests.pictures import jpeg

CALLS = 20_000
AT_ONCE = 200
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RESET, SETTINGS, END_HEADERS = 1, 3, 4, 4


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _head(method: str) -> bytes:
    """Return the headers of a call, each as a literal that is not indexed (RFC 7541, 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/productsearch.v1.ProductSearch/{method}",
    }
    fields |= {":authority": "x", "content-type": "application/grpc", "te": "trailers"}
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


@pytest.mark.parametrize("method", ["SearchImages", "BulkAddImages"])
def test_resets_take_no_places(method: str, server: ServerFactory, upstream: FakeUpstream) -> None:
    """Searches are served beside and after them: a reset call holds no place."""
    running = server()
    head = _head(method)
    with (
        v1.connect(f"127.0.0.1:{running.port}") as channel,
        socket.create_connection(("127.0.0.1", running.port), 20) as line,
    ):
        stub = v1.ProductSearchStub(channel)
        line.sendall(PREFACE + _frame(SETTINGS, 0, 0))
        line.settimeout(20)
        for first in range(0, CALLS, AT_ONCE):
            streams = range(2 * first + 1, 2 * (first + AT_ONCE), 2)
            cancel = struct.pack(">I", 8)
            line.sendall(
                b"".join(
                    _frame(HEADERS, END_HEADERS, stream, head) + _frame(RESET, 0, stream, cancel)
                    for stream in streams
                )
            )
            if first % (20 * AT_ONCE) == 0:
                image = v1.ImageSource(content=jpeg(first))
                stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=20)
        image = v1.ImageSource(content=jpeg(CALLS))
        stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=20)
    assert 6 == len(upstream.calls)
