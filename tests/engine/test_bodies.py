"""Bodies are bounded together and shared among apps; connections are bounded in time and bytes."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
import requests
from hypothesis import given, seed
from hypothesis import strategies as st

from productsearch_engine import limits
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.in_flight import InFlight
from productsearch_engine.api.shares import Shares
from tests.engine.calling import CALLS, Caller, code_of, image_field
from tests.engine.image_files import jpeg

_TRIES = 10


@asynccontextmanager
async def granted(shares: Shares, key: int, size: int) -> AsyncIterator[None]:
    """Hold units for a while."""
    await shares.acquire(key, size)
    try:
        yield
    finally:
        shares.release(key, size)


async def settled() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


@seed(20260701)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 100)), max_size=60))
def test_no_more_than_allowed_at_once(requests: list[tuple[int, int]]) -> None:
    """Holders never have more than there is together, and all get their turn."""

    async def run() -> tuple[int, int]:
        shares, held, most, done = Shares(100), 0, 0, 0

        async def hold(key: int, size: int) -> None:
            nonlocal held, most, done
            async with granted(shares, key, size):
                held += size
                most = max(most, held)
                await asyncio.sleep(0)
                held -= size
            done += 1

        await asyncio.gather(*(hold(*request) for request in requests))
        return most, done

    most, done = asyncio.run(asyncio.wait_for(run(), 20))
    assert most <= 100
    assert len(requests) == done


def test_a_large_request_is_not_overtaken() -> None:
    """A request for much is not kept waiting by small ones that come after it."""

    async def run() -> list[str]:
        shares, order = Shares(10), list[str]()

        async def hold(name: str, key: int, size: int) -> None:
            async with granted(shares, key, size):
                order.append(name)
                await settled()

        await asyncio.gather(hold("first", 1, 6), hold("large", 2, 10), hold("small", 2, 1))
        return order

    assert ["first", "large", "small"] == asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize("apps", [1, 2, 5])
def test_a_part_is_left_for_others(apps: int) -> None:
    """However much some apps ask for and keep, one that comes new is served at once."""

    async def run() -> int:
        shares, held = Shares(60), [0] * apps

        async def keep(app: int) -> None:
            await shares.acquire(app, 4)
            held[app] += 4

        tasks = [asyncio.create_task(keep(app)) for _ in range(30) for app in range(apps)]
        await settled()
        async with asyncio.timeout(5), granted(shares, 99, 4):
            pass
        for task in tasks:
            task.cancel()
        return max(held)

    most = asyncio.run(asyncio.wait_for(run(), 20))
    assert 4 <= most <= max(60 // (apps + 1), 4)


def test_who_holds_least_is_next() -> None:
    """A waiter that holds little is served before others of an app that holds much."""

    async def run() -> list[int]:
        shares, order = Shares(8), list[int]()
        await shares.acquire(1, 4)
        await shares.acquire(2, 2)
        await shares.acquire(3, 2)

        async def wait(key: int) -> None:
            await shares.acquire(key, 2)
            order.append(key)

        waiting = [asyncio.create_task(wait(key)) for key in (1, 4, 5)]
        await settled()
        assert not order
        shares.release(3, 2)
        await settled()
        shares.release(2, 2)
        await settled()
        for task in waiting:
            task.cancel()
        return order

    assert [4, 5] == asyncio.run(asyncio.wait_for(run(), 20))


def test_who_stops_waiting_leaves_nothing_behind() -> None:
    """A caller that goes away while it waits, or as it is granted, costs nobody anything."""

    async def run() -> None:
        shares = Shares(10)

        async def hold() -> None:
            async with granted(shares, 1, 10):
                await asyncio.sleep(3600)

        holder, waiter = asyncio.create_task(hold()), asyncio.create_task(hold())
        await settled()
        holder.cancel()
        await asyncio.sleep(0)
        waiter.cancel()
        await settled()
        async with asyncio.timeout(5), granted(shares, 2, 10):
            pass

    asyncio.run(asyncio.wait_for(run(), 20))


def test_calls_in_flight() -> None:
    """One app cannot take the last place from the others, nor all apps more than there are."""
    in_flight = InFlight(100)

    def fill(app: int) -> int:
        entered = 0
        while True:
            call = in_flight.counted(app)
            try:
                call.__enter__()
            except ApiError as error:
                assert 4 == error.code
                return entered
            calls.append(call)
            entered += 1

    calls: list[Any] = []
    assert 50 == fill(1)
    assert 33 == fill(2)
    assert 0 < fill(3)
    assert 1 == fill(4)
    for app in range(5, 200):
        fill(app)
    assert 100 >= len(calls)
    for call in calls:
        call.__exit__(None, None, None)
    assert 50 == fill(9)


def test_many_large_bodies(shared_caller: Caller) -> None:
    """More bodies at once than are admitted together are all answered in the end.

    On a busy machine some wait longer than a call may (2, 4), and are sent again.
    """
    image = image_field(jpeg(1) + bytes(2_900_000))
    number = 2 * limits.BODIES_BYTES_MAX // limits.ENCODED_BYTES_MAX
    codes: list[int] = []

    def search() -> None:
        for _ in range(_TRIES):
            response = requests.post(
                shared_caller.url + CALLS + "search",
                params={"access_token": shared_caller.token},
                files={"image": (None, image)},
                timeout=120,
            )
            code = code_of(response.json())
            if code not in (2, 4):
                break
        codes.append(code)

    threads = [threading.Thread(target=search) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [0] * number == codes


@contextmanager
def connected(caller: Caller, sent: bytes = b"", number: int = 1) -> Iterator[list[socket.socket]]:
    """Open connections and send the same on each."""
    host, port = caller.url.removeprefix("http://").split(":")
    opened = [socket.create_connection((host, int(port)), 60) for _ in range(number)]
    try:
        for connection in opened:
            connection.sendall(sent)
        yield opened
    finally:
        for connection in opened:
            connection.close()


def head(caller: Caller, method: str, *lines: str) -> bytes:
    """Return a request's head."""
    first = f"POST {CALLS}{method}?access_token={caller.token} HTTP/1.1"
    return "\r\n".join([first, "Host: x", *lines, "", ""]).encode()


def test_callers_that_stall_and_go(shared_caller: Caller) -> None:
    """Callers that announce large bodies, stall, and hang up give back what they held."""
    sent = head(shared_caller, "add", "Content-Length: 4000000") + b"image=AAAA"
    with connected(shared_caller, sent, 40):
        pass
    assert 0 == code_of(shared_caller.call("search", image=jpeg(1)))


def code_of_end(connection: socket.socket) -> int:
    """Return the error code with which a connection's call ends."""
    connection.settimeout(60)
    with connection.makefile("rb") as answer:
        told = b"".join(iter(lambda: answer.read(1), b"}"))
    return int(told.partition(b'"error_code":')[2].split(b",")[0])


def test_bodies_that_do_not_come(shared_caller: Caller, caller: Caller) -> None:
    """Bodies that are announced and do not come hold up no other app: it is served meanwhile."""
    sent = head(shared_caller, "add", "Content-Length: 4200000") + b"image=AAAA"
    with connected(shared_caller, sent, 60) as stalled:
        assert 0 == code_of(caller.call("search", image=jpeg(1)))
        # None of them was answered before: they still held what they had.
        stalled[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            stalled[0].recv(1)
        # And each comes to an end by itself, with an answer: what it held, or that it waited.
        ends = Counter(code_of_end(connection) for connection in stalled)
    assert {2, 4} >= ends.keys()
    assert ends[2]


def unanswered(connections: list[socket.socket]) -> bool:
    """Return whether none of them has been told anything, though some may have been closed."""
    told = b""
    for connection in connections:
        connection.setblocking(False)
        with suppress(BlockingIOError, ConnectionError):
            told += connection.recv(4096)
    return not told


def test_small_requests_wait_for_no_bodies(shared_caller: Caller) -> None:
    """A small request is answered while large bodies of its own app wait for their memory."""
    sent = head(shared_caller, "add", "Content-Length: 4200000") + b"image=AAAA"
    with connected(shared_caller, sent, 60) as stalled:
        assert 216680 == code_of(shared_caller.call("delete", cont_sign="1,2"))
        assert unanswered(stalled)


SLOW_TOKEN = b"POST /oauth/2.0/token HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\ngrant_type="


def test_token_requests_wait_for_no_bodies(shared_caller: Caller) -> None:
    """Token requests whose bodies do not come take no place of those that are here."""
    with connected(shared_caller, SLOW_TOKEN, 2 * limits.TOKEN_CALLS_MAX) as stalled:
        assert 200 == shared_caller.ask_token().status_code
        assert unanswered(stalled)


def test_bodies_that_stand_still_give_way(shared_caller: Caller) -> None:
    """With all connections in bodies that do not come, a caller gets in before one has its end."""
    with connected(shared_caller, SLOW_TOKEN, limits.CONNECTIONS_MAX + 100) as stalled:
        assert 200 == shared_caller.ask_token().status_code
        assert unanswered(stalled[-200:])


TRICKLES = (
    (["Content-Length: 9"], []),
    (["Transfer-Encoding: chunked"], [b"1\r\nx\r\n"] * 20),
    (["Transfer-Encoding: chunked"], [b"1;" + b"x" * 60_000]),
)


def test_a_trickle_ends(shared_caller: Caller) -> None:
    """A body that stands still or trickles comes to an end, and so does its connection's use."""
    with ThreadPoolExecutor(len(TRICKLES)) as pool:
        for told in pool.map(lambda trickle: _trickle(shared_caller, *trickle), TRICKLES):
            assert told.startswith((b"HTTP/1.1 200 OK", b"closed"))


def _trickle(caller: Caller, lines: list[str], pieces: list[bytes]) -> bytes:
    """Send a head, then a piece each half second, until something is told."""
    with connected(caller, head(caller, "add", *lines)) as (connection,):
        connection.settimeout(0.5)
        ends = time.monotonic() + 60
        left = iter(pieces)
        while time.monotonic() < ends:
            with suppress(TimeoutError):
                try:
                    connection.sendall(next(left, b""))
                    return connection.recv(4096) or b"closed"
                except ConnectionError:
                    return b"closed"
    return b"nothing"


FLOODS: dict[str, Callable[[Caller], Iterator[bytes]]] = {
    "an endless url": lambda _: repeat(b"GET /" + b"x" * 9000, b"x" * 9000),
    "an endless header": lambda caller: repeat(head(caller, "add")[:-2] + b"X: ", b"x" * 9000),
    "endless headers": lambda caller: repeat(head(caller, "add")[:-2], b"X: y\r\n" * 1000),
    "an endless chunk extension": lambda caller: repeat(
        head(caller, "add", "Transfer-Encoding: chunked") + b"1;", b"x" * 9000
    ),
    "endless tiny chunks": lambda caller: repeat(
        head(caller, "add", "Transfer-Encoding: chunked"), b"1\r\nx\r\n" * 1000
    ),
    "endless trailers": lambda caller: repeat(
        head(caller, "add", "Transfer-Encoding: chunked") + b"0\r\n", b"X: y\r\n" * 1000
    ),
    "requests without end": lambda caller: repeat(b"", b"GET /metrics HTTP/1.1\r\n\r\n" * 400),
}
"""What no client sends, and what must not be kept in memory."""


def repeat(first: bytes, then: bytes) -> Iterator[bytes]:
    """Yield at most 20 MB."""
    yield first
    for _ in range(20_000_000 // len(then)):
        yield then


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_cut(shared_caller: Caller, kind: str) -> None:
    """What is no body of any form is cut long before 20 MB of it were taken."""
    with connected(shared_caller) as (connection,), pytest.raises(ConnectionError):
        _send(connection, FLOODS[kind](shared_caller))
    assert 0 == code_of(shared_caller.call("search", image=jpeg(1)))


def _send(connection: socket.socket, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        connection.sendall(piece)


REFUSED = f"POST {CALLS}search?access_token=wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000"


@pytest.mark.parametrize("sent", [b"POST", REFUSED.encode() + b"\r\n\r\nimage="])
def test_many_connections(shared_caller: Caller, sent: bytes) -> None:
    """More connections than there are places, all silent, or answered and still in their body: a
    caller still gets in.
    """
    with connected(shared_caller, sent, limits.CONNECTIONS_MAX + 200):
        fresh = requests.get(shared_caller.url + "/healthz", timeout=30)
        assert 200 == fresh.status_code
