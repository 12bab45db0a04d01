"""Large images are sent to the processes of ``fit``, and hashed, outside the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import threading
from typing import Any

import pytest

from productsearch_service import limits
from productsearch_service.images import frames, worker_process
from productsearch_service.images.pool import Pool
from productsearch_service.rpc import page_token
from tests.pictures import draw, encode, jpeg

LARGE = encode(draw(1)).ljust(limits.FIT_BYTES_MAX, b"\0")


@pytest.mark.asyncio
async def test_a_large_image_is_sent_in_a_thread_and_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a part of the message that it came in; the event loop sends the frame's head alone."""
    sent: list[int] = []
    send = worker_process.Worker._send

    async def counted(self: worker_process.Worker, part: bytes | memoryview) -> None:
        sent.append(len(part))
        await send(self, part)

    monkeypatch.setattr(worker_process.Worker, "_send", counted)
    images = Pool()
    try:
        fitted = await images.fit(memoryview(b"before" + LARGE + b"after")[6:-5])
        assert [frames.HEAD.size] == sent
        assert await images.fit(LARGE) == fitted
        sent.clear()
        small = jpeg(1)
        assert small == await images.fit(small)
        assert [frames.HEAD.size, len(small)] == sent
    finally:
        images.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("leaves", [True, False], ids=["the caller leaves", "it ends"])
async def test_a_thread_that_sends_ends_with_its_process(leaves: bool) -> None:
    """One that takes nothing: its caller leaves, or somebody ends it. Then the socket is closed."""
    worker = await _stopped_worker()
    working = asyncio.create_task(worker.work(frames.ORDER, LARGE))
    await asyncio.sleep(0.1)
    assert not working.done()
    if leaves:
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    assert -1 != worker._socket.fileno()
    worker.kill()
    if not leaves:
        with pytest.raises(worker_process.Lost):
            await working
    async with asyncio.timeout(20):
        while worker._socket.fileno() != -1:
            await asyncio.sleep(0.001)
    worker.wait()


async def _stopped_worker() -> worker_process.Worker:
    worker = await asyncio.to_thread(worker_process.Worker)
    await worker.ready()
    os.kill(worker.pid, signal.SIGSTOP)
    return worker


@pytest.mark.asyncio
async def test_a_large_image_is_hashed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the fingerprint that it always had: tokens of other replicas stay good."""
    threads: list[int] = []

    class Watched:
        def __init__(self, content: bytes) -> None:
            self._digest = hashlib.new("sha256", content)

        def update(self, content: Any) -> None:
            threads.append(threading.get_ident())
            self._digest.update(content)

        def digest(self) -> bytes:
            return self._digest.digest()

    monkeypatch.setattr(hashlib, "sha256", Watched)
    expected = hashlib.new("sha256", repr(("what",)).encode() + LARGE).digest()[:12]
    for content in (LARGE, memoryview(LARGE)):
        assert expected == await page_token.fingerprint(("what",), content)
    await page_token.fingerprint(("what",), jpeg(1))
    here = threading.get_ident()
    assert [True, True, False] == [each != here for each in threads]
