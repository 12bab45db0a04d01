"""A volume that hangs while a file on it is read anew: others are read, and nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from productsearch_service.server.reload import Reloadable, Watch

SLOW_S = 0.1
PATIENCE_S = 20.0


def _reloadable(what: str, read: Callable[[], int]) -> Reloadable[int, int]:
    def changes(old: int, new: int) -> str:
        return f"{old} to {new}"

    return Reloadable(what, read, lambda content: content, changes, lambda _, __: ())


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_one_file_hangs_and_the_other_is_taken_over() -> None:
    """It counts as broken meanwhile, its value stays in use, and once it can be read all is well.

    An end meanwhile waits for nothing, nor does that of the event loop's own threads.
    """
    goes_on, hung, counted = threading.Event(), threading.Event(), iter(range(10**9))
    goes_on.set()

    def hanging() -> int:
        if not goes_on.is_set():
            hung.set()
        goes_on.wait(PATIENCE_S)
        return 1

    policy = _reloadable("policy_file", hanging)
    certificate = _reloadable("tls_cert_file", lambda: next(counted))
    watch = Watch([policy, certificate], 0.01, slow_s=SLOW_S)
    goes_on.clear()
    watch.start()
    try:
        await _until(hung.is_set)
        seen = certificate.value
        await _until(lambda: certificate.value > seen + 3)
        await _until(policy.is_broken)
        assert not certificate.is_broken()
        assert 1 == policy.value
        goes_on.set()
        await _until(lambda: not policy.is_broken())
        goes_on.clear()
        hung.clear()
        await _until(hung.is_set)
        began_s = time.monotonic()
        await watch.stop()
        await asyncio.get_running_loop().shutdown_default_executor()
        assert time.monotonic() - began_s < PATIENCE_S / 4
    finally:
        goes_on.set()
