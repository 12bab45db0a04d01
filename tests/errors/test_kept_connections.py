"""A connection that the upstream gave up while it was idle costs a caller nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator

import pytest

from productsearch import v1
from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.upstream.http.failure import TransportFailure
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedText
from tests.fakes.upstream import FakeUpstream, Fault, error, search_answer
from tests.pictures import jpeg

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_PATIENCE_S = 10
IMAGE = v1.ImageSource(content=jpeg())
ADD = v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b"))
SEARCH = v1.SearchImagesRequest(image=IMAGE)
_WHOLE = limits.SENT_WHOLE_BYTES
_PART_BYTES = 262_144
"""As large as the parts of most images."""
_LARGE = bytes(8_000_000)
"""More than the buffers of both ends of a connection hold."""


class Forgetful:
    """A server that answers each connection's first request, and closes it at the second.

    ``reads`` is how much of the second request it takes first: ``all`` or ``none``. The first
    answers wait until that many connections, ``together``, want one.
    """

    def __init__(self, reads: str, together: int = 1) -> None:
        self._reads = reads
        self._together = threading.Barrier(together)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.connections = 0
        self.requests = 0

    def serve(self) -> None:
        """Take connections until the door is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._door.accept()
                self.connections += 1
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Close the door."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            _read_request(connection)
            self.requests += 1
            self._together.wait(_PATIENCE_S)
            connection.sendall(_ANSWER)
            if self._reads == "all":
                self.requests += _read_request(connection)
            else:
                connection.recv(1)
                # A reset, as of a server that is not there any more.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read_request(connection: socket.socket) -> bool:
    """Read a request and return whether one came."""
    stream = connection.makefile("rb", buffering=0)
    length = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while length > 0 and (piece := stream.read(length)):
        length -= len(piece)
    return line == b"\r\n" and not length


@contextlib.asynccontextmanager
async def _forgetful(reads: str, together: int = 1) -> AsyncIterator[tuple[Forgetful, Transport]]:
    server = Forgetful(reads, together)
    threading.Thread(target=server.serve, daemon=True).start()
    transport = Transport(server.url)
    try:
        yield server, transport
    finally:
        await transport.close()
        server.close()


async def _post(transport: Transport, body: bytes = b"a=b") -> bytes:
    deadline = Deadline.after(_PATIENCE_S)
    parts = [body[at : at + _PART_BYTES] for at in range(0, len(body), _PART_BYTES)]
    return (await transport.post("/path", MaskedText(), parts, deadline))[1]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [0, 3, _WHOLE - 1, _WHOLE, _WHOLE + 1, 4_000_000])
async def test_a_request_that_went_out_whole_may_have_been_done(size: int) -> None:
    """The end of a kept connection before any answer is told apart; the upstream had it all."""
    async with _forgetful("all") as (server, transport):
        assert b"{}" == await _post(transport)
        with pytest.raises(TransportFailure) as failed:
            await _post(transport, bytes(size))
        assert failed.value.stale
        assert failed.value.maybe_done
        assert b"{}" == await _post(transport)
        assert (2, 3) == (server.connections, server.requests)


@pytest.mark.asyncio
async def test_a_request_that_never_went_out_whole_is_not_done() -> None:
    """A kept connection that breaks while a large body goes out has carried no request."""
    async with _forgetful("none") as (server, transport):
        assert b"{}" == await _post(transport)
        with pytest.raises(TransportFailure) as failed:
            await _post(transport, _LARGE)
        assert failed.value.stale
        assert not failed.value.maybe_done
        assert 1 == server.requests


@pytest.mark.asyncio
async def test_idle_connections_are_given_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for longer than the limit is not used again."""
    monkeypatch.setattr(limits, "CONNECTION_IDLE_MAX_S", 0.05)
    async with _forgetful("all") as (server, transport):
        assert b"{}" == await _post(transport)
        await asyncio.sleep(0.1)
        assert b"{}" == await _post(transport)
        assert (2, 2) == (server.connections, server.requests)


@pytest.mark.asyncio
async def test_the_first_answer_of_a_connection_is_no_stale_one() -> None:
    """A new connection that ends without an answer is the upstream's failure."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        transport = Transport(f"http://127.0.0.1:{door.getsockname()[1]}")

        def end() -> None:
            connection, _ = door.accept()
            with connection:
                _read_request(connection)

        threading.Thread(target=end, daemon=True).start()
        with pytest.raises(TransportFailure) as failed:
            await _post(transport)
        assert (False, True) == (failed.value.stale, failed.value.maybe_done)
        await transport.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("together", [2, 4, 16])
async def test_one_stale_connection_ends_all_idle_ones(together: int) -> None:
    """What was idle beside it is as old: none of it fails another call."""
    async with _forgetful("all", together) as (server, transport):
        await asyncio.gather(*(_post(transport) for _ in range(together)))
        with pytest.raises(TransportFailure) as failed:
            await _post(transport)
        assert failed.value.stale
        assert together == server.connections
        await asyncio.gather(*(_post(transport) for _ in range(together)))
        assert 2 * together == server.connections


@pytest.mark.asyncio
async def test_a_stale_connection_ends_no_call_that_is_under_way() -> None:
    """Calls that wait for their answers on other connections get them."""
    go_on = asyncio.Event()
    connections = ended = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, ended
        connections += 1
        try:
            for answered in (True, False):
                await reader.readuntil(b"\r\n\r\n")
                if await reader.readexactly(4) == b"slow":
                    await go_on.wait()
                if answered:
                    writer.write(_ANSWER)
        except asyncio.IncompleteReadError:
            ended += 1
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    transport = Transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    waiting = [asyncio.create_task(_post(transport, b"slow")) for _ in range(3)]
    while connections < 3:
        await asyncio.sleep(0)
    assert b"{}" == await _post(transport, b"fast")
    with pytest.raises(TransportFailure) as failed:
        await _post(transport, b"fast")
    assert failed.value.stale
    assert b"{}" == await _post(transport, b"fast")
    assert 5 == connections
    go_on.set()
    assert [b"{}"] * 3 == await asyncio.gather(*waiting)
    async with asyncio.timeout(_PATIENCE_S):
        while ended < 3:  # what these calls held was as old, and is not used again
            await asyncio.sleep(0.001)
    await transport.close()
    server.close()
    await server.wait_closed()


def test_callers_do_not_notice(upstream: FakeUpstream, stub: v1.ProductSearchStub) -> None:
    """A call on a stale connection is repeated at once on a new one, outside the retries."""
    upstream.then("search", search_answer(), Fault(kind="close"))
    for _ in range(2):
        stub.SearchImages(SEARCH, timeout=_PATIENCE_S)
    assert 3 == len(upstream.calls)


def test_an_add_on_a_stale_connection_is_settled(
    upstream: FakeUpstream, stub: v1.ProductSearchStub
) -> None:
    """It may have been carried out: the repeated one hears 216681, and that means created."""
    upstream.then("add", Fault(kind="close"), error(216681, "item has existed", cont_sign="8,9"))
    stub.SearchImages(SEARCH, timeout=_PATIENCE_S)
    added = stub.AddImage(ADD, timeout=_PATIENCE_S)
    assert ("8,9", v1.AddOutcome.ADD_OUTCOME_CREATED) == (added.cont_sign, added.outcome)


def test_stale_connections_open_no_breaker(
    upstream: FakeUpstream, stub: v1.ProductSearchStub
) -> None:
    """An upstream that drops each connection after its first answer is not taken for down."""
    calls = 2 * limits.BREAKER_FAILURES
    upstream.then("search", *[search_answer(), Fault(kind="close")] * calls)
    for _ in range(calls):
        stub.SearchImages(SEARCH, timeout=_PATIENCE_S)
