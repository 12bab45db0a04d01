"""Calls that are begun and reset at once, by the thousand on one connection."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from productsearch import v1
from tests.calls import silent
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


def test_a_burst_of_strangers_resets_nobody_else(server: ServerFactory, tmp_path: Path) -> None:
    """2,000 calls without a token come while the event loop is busy, and 30 searches beside them:
    all searches are answered. gRPC's own bound resets a part of whatever waits then.
    """
    running = server(policy_file=silent.policy_file(tmp_path))
    calls = b"".join(
        frame(HEADERS, END_HEADERS, stream, head("AddImage")) for stream in range(1, 2001, 2)
    )

    async def busy() -> None:
        time.sleep(1)

    with ExitStack() as stack:
        channel = stack.enter_context(silent.connected(running))
        search = v1.ProductSearchStub(channel).SearchImages.future
        lines = [socket.create_connection(("127.0.0.1", running.port), 20) for _ in range(2)]
        for line in lines:
            stack.enter_context(line)
            line.sendall(PREFACE + frame(SETTINGS, 0, 0))
        time.sleep(0.2)
        working = threading.Thread(target=lambda: running.run(busy()))
        working.start()
        for line in lines:
            line.sendall(calls)
        time.sleep(0.2)
        image = v1.ImageSource(content=jpeg(1))
        request, metadata = v1.SearchImagesRequest(image=image), silent.token_of("one")
        begun = [search(request, metadata=metadata, timeout=20) for _ in range(30)]
        assert 30 * ["1,2"] == [call.result().results[0].cont_sign for call in begun]
        working.join()
