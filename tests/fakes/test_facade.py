"""The facade of the tests itself: it hides no failure and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from typing import Any

import pytest

from productsearch import v1
from productsearch_service.server.listen import CannotListen
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream
from tests.pictures import jpeg

SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))


def _settings(upstream: FakeUpstream, **changes: Any) -> Settings:
    library = {"base_url": upstream.url, "api_key": "k", "secret_key": "s", "quota_qps": 0}
    usual = {"listen": "127.0.0.1:0", "libraries": {"default": library}, "drain_delay_s": 0}
    return Settings(**usual | changes)


def _loops() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "facade"]


def test_a_server_that_cannot_start_says_so_and_leaves_nothing(upstream: FakeUpstream) -> None:
    """The exception comes in the caller's thread; no loop, no session, no file stays open."""
    before = _loops()
    with socket.create_server(("127.0.0.1", 0)) as door:
        taken = f"127.0.0.1:{door.getsockname()[1]}"
        with pytest.raises(CannotListen, match="is taken"):
            Server(_settings(upstream, listen=taken))
    gc.collect()  # an open session would be reported here, and pytest fails the test for it
    assert before == _loops()


def test_a_server_that_was_stopped_leaves_nothing(upstream: FakeUpstream) -> None:
    """After calls, and stopped twice: the loop is closed, its thread has ended, tasks are done."""
    before = _loops()
    for _ in range(3):
        server = Server(_settings(upstream))
        server.start()
        with v1.connect(f"127.0.0.1:{server.port}") as channel:
            assert 1 == len(v1.ProductSearchStub(channel).SearchImages(SEARCH).results)

        async def forever() -> None:
            await asyncio.Event().wait()

        async def leave_a_task() -> asyncio.Task[None]:
            return asyncio.create_task(forever())

        left = server.run(leave_a_task())
        server.stop()
        server.stop()
        assert left.cancelled()
    gc.collect()
    assert before == _loops()


def test_what_a_coroutine_raises_is_raised_here(upstream: FakeUpstream) -> None:
    """Work on the server's loop fails in the thread that asked for it."""
    server = Server(_settings(upstream))

    async def failing() -> None:
        raise KeyError("it")

    with pytest.raises(KeyError, match="it"):
        server.run(failing())
    server.stop()
