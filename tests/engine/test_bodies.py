"""Bodies in memory are bounded together, in the order of asking."""

from __future__ import annotations

import asyncio
import socket
import threading

import requests

from productsearch_engine import limits
from productsearch_engine.api.bodies import Allowance
from tests.engine.calling import CALLS, Caller, code_of, image_field
from tests.engine.image_files import jpeg


async def settled() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_no_more_than_allowed_at_once() -> None:
    """Holders never have more than the allowance together, and all get their turn."""

    async def run() -> tuple[int, int]:
        allowance, held, most, done = Allowance(100), 0, 0, 0

        async def hold(size: int) -> None:
            nonlocal held, most, done
            async with allowance.granted(size):
                held += size
                most = max(most, held)
                await asyncio.sleep(0)
                held -= size
            done += 1

        await asyncio.gather(*(hold(size) for size in (60, 60, 40, 100, 1, 1, 99) * 20))
        return most, done

    assert (100, 140) == asyncio.run(asyncio.wait_for(run(), 20))


def test_a_large_body_is_not_overtaken() -> None:
    """A body that waits for much is not kept waiting by small ones that come after it."""

    async def run() -> list[str]:
        allowance, order = Allowance(10), list[str]()

        async def hold(name: str, size: int) -> None:
            async with allowance.granted(size):
                order.append(name)
                await settled()

        tasks = [hold("first", 6), hold("large", 10), hold("small", 1)]
        await asyncio.gather(*tasks)
        return order

    assert ["first", "large", "small"] == asyncio.run(asyncio.wait_for(run(), 20))


def test_who_stops_waiting_leaves_nothing_behind() -> None:
    """A caller that goes away while it waits, or as it is granted, costs nobody anything."""

    async def run() -> None:
        allowance = Allowance(10)

        async def hold() -> None:
            async with allowance.granted(10):
                await asyncio.sleep(3600)

        holder, waiter = asyncio.create_task(hold()), asyncio.create_task(hold())
        await settled()
        holder.cancel()
        await asyncio.sleep(0)
        waiter.cancel()
        await settled()
        async with asyncio.timeout(5), allowance.granted(10):
            pass

    asyncio.run(asyncio.wait_for(run(), 20))


def test_many_large_bodies(shared_caller: Caller) -> None:
    """More bodies at once than are admitted together are all answered in the end."""
    image = image_field(jpeg(1) + bytes(2_900_000))
    number = 2 * limits.BODIES_BYTES_MAX // limits.ENCODED_BYTES_MAX
    codes: list[int] = []

    def search() -> None:
        response = requests.post(
            shared_caller.url + CALLS + "search",
            params={"access_token": shared_caller.token},
            files={"image": (None, image)},
            timeout=120,
        )
        codes.append(code_of(response.json()))

    threads = [threading.Thread(target=search) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [0] * number == codes


def test_callers_that_stall_and_go(shared_caller: Caller) -> None:
    """Callers that announce large bodies, stall, and hang up give back what they held."""
    host, port = shared_caller.url.removeprefix("http://").split(":")
    head = f"POST {CALLS}add?access_token={shared_caller.token} HTTP/1.1\r\nHost: x\r\n"
    stalled = [socket.create_connection((host, int(port))) for _ in range(40)]
    for connection in stalled:
        connection.sendall(f"{head}Content-Length: 4000000\r\n\r\nimage=AAAA".encode())
    for connection in stalled:
        connection.close()
    assert 0 == code_of(shared_caller.call("search", image=jpeg(1)))
