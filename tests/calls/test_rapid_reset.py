"""Calls that are begun and reset at once, by the thousand on one connection."""

from __future__ import annotations

import socket
import struct

import pytest

from productsearch import v1
from tests.calls.http2 import END_HEADERS, HEADERS, PREFACE, RESET, SETTINGS, frame, head
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream
from tests.pictures import jpeg

CALLS = 20_000
AT_ONCE = 200


@pytest.mark.parametrize("method", ["SearchImages", "BulkAddImages"])
def test_resets_take_no_places(method: str, server: ServerFactory, upstream: FakeUpstream) -> None:
    """Searches are served beside and after them: a reset call holds no place."""
    running = server()
    headers = head(method)
    with (
        v1.connect(f"127.0.0.1:{running.port}") as channel,
        socket.create_connection(("127.0.0.1", running.port), 20) as line,
    ):
        stub = v1.ProductSearchStub(channel)
        line.sendall(PREFACE + frame(SETTINGS, 0, 0))
        line.settimeout(20)
        for first in range(0, CALLS, AT_ONCE):
            streams = range(2 * first + 1, 2 * (first + AT_ONCE), 2)
            cancel = struct.pack(">I", 8)
            line.sendall(
                b"".join(
                    frame(HEADERS, END_HEADERS, stream, headers) + frame(RESET, 0, stream, cancel)
                    for stream in streams
                )
            )
            if first % (20 * AT_ONCE) == 0:
                image = v1.ImageSource(content=jpeg(first))
                stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=20)
        image = v1.ImageSource(content=jpeg(CALLS))
        stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=20)
    assert 6 == len(upstream.calls)
