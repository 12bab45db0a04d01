"""Whoever watches health and does not read holds up no change of state, and no other watcher."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from grpc_health.v1 import health_pb2

from productsearch_service.observability.health import Health, LoopHealth

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class _Watcher:
    """The context of a Watch: what was written, and whether its caller reads."""

    def __init__(self, health: LoopHealth, name: str, *, reads: bool) -> None:
        self.told: list[int] = []
        self._reads = asyncio.Event()
        if reads:
            self._reads.set()
        request = health_pb2.HealthCheckRequest(service=name)
        self.task = asyncio.create_task(health.Watch(request, self))

    async def write(self, answer: health_pb2.HealthCheckResponse) -> None:
        """Take an answer as soon as the caller reads."""
        await self._reads.wait()
        self.told.append(answer.status)

    def read(self) -> None:
        """Read from now on."""
        self._reads.set()


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _end(watchers: Iterable[_Watcher]) -> None:
    for each in watchers:
        each.task.cancel()
    await asyncio.gather(*(each.task for each in watchers), return_exceptions=True)


@pytest.mark.asyncio
async def test_a_watcher_that_does_not_read_holds_up_nobody() -> None:
    """State changes go on and reach the others at once; it gets the last one when it reads."""
    health = Health("a.service")
    async with asyncio.timeout(5):
        await health.start()
        stuck = _Watcher(health.on_loop, "", reads=False)
        reads = _Watcher(health.on_loop, "", reads=True)
        await _turns()
        for ready in (True, False, True):
            await health.tell_ready(ready)
            await _turns()
        await health.stop()
        await _turns()
        assert [NOT_SERVING, SERVING, NOT_SERVING, SERVING, NOT_SERVING] == reads.told
        assert [] == stuck.told
        stuck.read()
        await _turns()
        assert NOT_SERVING == stuck.told[-1]
        await _end((stuck, reads))


@pytest.mark.asyncio
async def test_names_that_are_asked_for_are_not_kept() -> None:
    """A thousand made-up names leave nothing behind; each is SERVICE_UNKNOWN until it is known."""
    health = LoopHealth()
    watchers = [_Watcher(health, f"name-{number}", reads=True) for number in range(1000)]
    await _turns()
    assert all([UNKNOWN] == each.told for each in watchers)
    assert {} == health._statuses
    health.set("name-7", SERVING)
    await _turns()
    assert [UNKNOWN, SERVING] == watchers[7].told
    await _end(watchers)
