"""Names of upstreams: name servers that hang, forget, or answer with what nobody listens at."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from productsearch_service.call_context import Deadline
from productsearch_service.upstream.http.failure import TransportFailure
from productsearch_service.upstream.http.names import Names
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedText
from tests.fakes.upstream import FakeUpstream
from tests.ports import free_port

HANGS, NAME = "hangs.example", "upstream.example"
LOOK_UP = socket.getaddrinfo
CONNECT_S = 0.3

NameServer = dict[str, Callable[[int], Any]]
"""What is answered by name, given the port."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    """Return a name server that answers what it is told to; ``hangs.example`` it never does."""
    over, answers = threading.Event(), NameServer()

    def look_up(host: str, port: int, *given: Any, **named: Any) -> Any:
        if host == HANGS:
            over.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return answers[host](port) if host in answers else LOOK_UP(host, port, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield answers
    over.set()


def _found(port: int, address: str = "127.0.0.1") -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = (address, port, 0, 0) if ":" in address else (address, port)
    return (family, socket.SOCK_STREAM, 6, "", place)


def _unknown(_: int) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "not known")


async def _status(base_url: str, names: Names) -> int:
    """Return the status of a POST over a new connection."""
    transport = Transport(base_url, connect_s=CONNECT_S, names=names)
    try:
        return (await transport.post("/", MaskedText(), (b"a=b",), Deadline.after(20)))[0]
    finally:
        await transport.close()


def _url(upstream: FakeUpstream) -> str:
    return upstream.url.replace("127.0.0.1", NAME)


@pytest.mark.asyncio
async def test_a_name_server_that_hangs_takes_no_longer_than_a_connection(
    server: NameServer, upstream: FakeUpstream
) -> None:
    """However many wait, they hold one thread, and names of others are looked up."""
    server[NAME] = lambda port: [_found(port)]
    hanging = Names(CONNECT_S)
    began_s = time.monotonic()
    outcomes = await asyncio.gather(
        *(_status(f"http://{HANGS}", hanging) for _ in range(50)), return_exceptions=True
    )
    assert time.monotonic() - began_s < 10
    assert {("cannot be connected to", f"{HANGS}:80: no name server answers")} == {
        (each.what, each.cause) for each in outcomes if isinstance(each, TransportFailure)
    }
    assert 50 == len(outcomes)
    assert 1 == sum(each.name == "names" for each in threading.enumerate())
    assert await _status(_url(upstream), Names())


@pytest.mark.asyncio
@pytest.mark.parametrize("later", [_unknown, lambda _: []], ids=["no such name", "no address"])
async def test_what_was_known_stays_known(
    later: Callable[[int], Any], server: NameServer, upstream: FakeUpstream
) -> None:
    """A name server that knows a name no more, for a minute, fails no call."""
    names = Names()
    server[NAME] = later
    with pytest.raises(TransportFailure, match="cannot be connected to"):
        await _status(_url(upstream), names)
    server[NAME] = lambda port: [_found(port)]
    assert await _status(_url(upstream), names)
    server[NAME] = later
    assert await _status(_url(upstream), names)


def _silent(_: int) -> Any:
    raise socket.gaierror(socket.EAI_AGAIN, "no answer")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("later", "allowed_s"),
    [(_unknown, 60), (lambda _: [], 60), (_silent, 3600)],
    ids=["no such name", "no address", "no answer"],
)
async def test_what_was_known_is_forgotten(
    later: Callable[[int], Any], allowed_s: float, server: NameServer
) -> None:
    """Somebody else may have the address by then. An answer between begins the time anew."""
    now_s = [1000.0]
    names = Names(CONNECT_S, lambda: now_s[0])

    async def asked(answer: Callable[[int], Any], after_s: float) -> bool:
        server[NAME] = answer
        now_s[0] += after_s
        try:
            return ["127.0.0.1"] == [each["host"] for each in await names.resolve(NAME, 80)]
        except OSError:
            return False

    def there(port: int) -> Any:
        return [_found(port)]

    assert await asked(there, 0)
    assert await asked(later, 1_000_000)  # nobody had asked for long: it counts from now on
    assert await asked(later, allowed_s - 1)
    assert await asked(there, 10)
    assert await asked(later, 1)
    assert await asked(later, allowed_s)
    assert not await asked(later, 1)
    assert not await asked(later, 0)
    assert await asked(there, 0)


@pytest.mark.asyncio
async def test_a_name_server_that_hangs_for_long_is_not_trusted_for_ever(
    server: NameServer,
) -> None:
    """The time runs while nothing is answered at all."""
    now_s = [1000.0]
    names = Names(CONNECT_S, lambda: now_s[0])
    server[NAME] = lambda port: [_found(port)]
    assert await names.resolve(NAME, 80)
    hanging = threading.Event()
    server[NAME] = lambda _: hanging.wait(60)
    try:
        assert await names.resolve(NAME, 80)
        now_s[0] += 3601
        with pytest.raises(TimeoutError, match="no name server answers"):
            await names.resolve(NAME, 80)
    finally:
        hanging.set()


@pytest.mark.asyncio
async def test_silence_takes_no_denial_back(server: NameServer) -> None:
    """And a name server that denies the name after a silence is one that may err for a minute."""
    now_s = [1000.0]
    names = Names(CONNECT_S, lambda: now_s[0])

    async def asked(answer: Callable[[int], Any], after_s: float) -> bool:
        server[NAME] = answer
        now_s[0] += after_s
        try:
            return bool(await names.resolve(NAME, 80))
        except OSError:
            return False

    def there(port: int) -> Any:
        return [_found(port)]

    assert await asked(there, 0)
    assert await asked(_unknown, 0)
    assert await asked(_silent, 60)
    assert not await asked(_silent, 1)
    assert await asked(there, 0)
    assert await asked(_silent, 0)
    assert await asked(_unknown, 3000)
    assert await asked(_unknown, 60)
    assert not await asked(_unknown, 1)


@pytest.mark.asyncio
async def test_an_answer_that_nobody_waited_for_is_not_the_next_ones(server: NameServer) -> None:
    """It may be hours old by then, and the name have moved."""
    names, over = Names(CONNECT_S), threading.Event()

    def late(port: int) -> Any:
        over.wait(60)
        return [_found(port, "127.0.0.2")]

    server[NAME] = late
    with pytest.raises(TimeoutError):
        await names.resolve(NAME, 80)
    over.set()
    while any(each.name == "names" for each in threading.enumerate()):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)  # the event loop is told of it
    server[NAME] = lambda port: [_found(port)]
    assert ["127.0.0.1"] == [each["host"] for each in await names.resolve(NAME, 80)]
    server[NAME] = _silent
    assert ["127.0.0.1"] == [each["host"] for each in await names.resolve(NAME, 80)]


@pytest.mark.asyncio
async def test_names_are_doubted_each_by_itself(server: NameServer) -> None:
    """One upstream whose name is gone, another one with addresses of both families."""
    now_s = [1000.0]
    names = Names(CONNECT_S, lambda: now_s[0])
    both, other = ["::1", "127.0.0.1"], "other.example"
    server[NAME] = server[other] = lambda port: [_found(port, each) for each in both]
    for name in (NAME, other):
        assert both == [each["host"] for each in await names.resolve(name, 80)]
    server[NAME], server[other] = _unknown, _silent
    for _ in range(2):
        for name in (NAME, other):
            assert both == [each["host"] for each in await names.resolve(name, 80)]
        now_s[0] += 60
    now_s[0] += 60
    with pytest.raises(OSError, match="not known"):
        await names.resolve(NAME, 80)
    assert both == [each["host"] for each in await names.resolve(other, 80)]


@pytest.mark.asyncio
async def test_a_name_that_moves_is_followed(server: NameServer, upstream: FakeUpstream) -> None:
    """New connections go where it is now."""
    names = Names()
    server[NAME] = lambda _: [_found(free_port())]
    with pytest.raises(TransportFailure, match="cannot be connected to"):
        await _status(_url(upstream), names)
    server[NAME] = lambda port: [_found(port)]
    assert await _status(_url(upstream), names)


@pytest.mark.asyncio
async def test_an_address_that_nobody_listens_at_may_come_first(
    server: NameServer, upstream: FakeUpstream
) -> None:
    """Of IPv6, say; the next one is tried."""
    server[NAME] = lambda port: [_found(port, "::1"), _found(port, "127.0.0.9"), _found(port)]
    assert await _status(_url(upstream), Names())
