"""An answer is its body: what comes beside it is bounded, however it is spread."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest
import uvloop

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.upstream.http.failure import TransportFailure
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedText
from tests.fakes import endless
from tests.fakes.endless import CHUNKED

BODY = b'{"log_id": 1, "said": "' + b"a" * 1_900_000 + b'"}'
TOO_MUCH = "sent more heads and framing than an answer has"
TAKEN_MAX = 64 * 1024 * 1024
"""More than any answer, and than all buffers on the way."""


@pytest.fixture(params=[None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Return a runner of Python's own event loop, then of the one that the service runs on."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@contextlib.asynccontextmanager
async def _answering(pieces: Iterable[bytes], *, close: bool) -> AsyncIterator[Transport]:
    """Return a transport to an upstream that answers each request with these pieces."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            sent = 0
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(4)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    sent += len(piece)
                    assert sent < TAKEN_MAX
                if close:
                    break
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        transport = Transport(f"http://127.0.0.1:{port}")
        try:
            yield transport
        finally:
            await transport.close()


async def _answered(pieces: Iterable[bytes], *, close: bool = False, times: int = 1) -> list[bytes]:
    """Return the bodies that were read, of that many requests one after the other."""
    bodies = []
    async with _answering(pieces, close=close) as transport:
        for _ in range(times):
            told = await transport.post("/p", MaskedText(), (b"a=bc",), Deadline.after(20))
            assert 200 == told[0]
            bodies.append(bytes(told[1]))
    return bodies


@pytest.mark.parametrize("kind", endless.KINDS)
def test_endless_framing_ends_the_call(kind: str, loop: asyncio.Runner) -> None:
    """It is told as what it is, long before the call's deadline, and little of it is read."""
    with pytest.raises(TransportFailure) as failed:
        loop.run(_answered(endless.pieces(kind)))
    assert failed.value.maybe_done
    assert not failed.value.timed_out
    assert failed.value.what in (TOO_MUCH, "broke off", "broke off while it answered")
    if kind.startswith(("informational", "chunk")):
        assert TOO_MUCH == failed.value.what


def test_framing_that_ends_is_bounded_too(loop: asyncio.Runner) -> None:
    """A whole answer whose framing is five times its body is not read either."""
    pieces = [CHUNKED, *[b"1\r\n \r\n" * 1000] * 50, b"0\r\n\r\n"]
    with pytest.raises(TransportFailure, match=TOO_MUCH):
        loop.run(_answered(pieces))


@pytest.mark.parametrize("head", [b"Content-Length: 100000000", b"Transfer-Encoding: chunked"])
def test_a_body_without_an_end_is_not_held(head: bytes, loop: asyncio.Runner) -> None:
    """A whole answer is held here at most; what comes beyond it waits in the system."""
    piece = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    answer = [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n"]
    tracemalloc.start()
    try:
        with pytest.raises(TransportFailure, match="answered too much"):
            loop.run(_answered(itertools.chain(answer, itertools.repeat(piece))))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 6 * limits.ANSWER_BYTES_MAX


def _chunks(size: int) -> Iterator[bytes]:
    yield CHUNKED
    whole = b"".join(
        b"%x\r\n%s\r\n" % (len(BODY[at : at + size]), BODY[at : at + size])
        for at in range(0, 40 * size if size < 100 else len(BODY), size)
    )
    yield whole + b"0\r\n\r\n"


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
HONEST: dict[str, tuple[list[bytes], bytes, bool]] = {
    "a length": ([LENGTH % len(BODY) + b"\r\n" + BODY], BODY, False),
    "the connection's end": ([b"HTTP/1.1 200 OK\r\n\r\n" + BODY], BODY, True),
    "a length and the connection's end": ([LENGTH % len(BODY) + b"\r\n" + BODY], BODY, True),
    "chunks of 8": ([*_chunks(8)], BODY[:320], False),
    "chunks of 4096": ([*_chunks(4096)], BODY, False),
    "chunks that are sent one by one": (
        [CHUNKED, *[b"8\r\n        \r\n"] * 5000, b"2\r\n{}\r\n0\r\n\r\n"],
        b" " * 40_000 + b"{}",
        False,
    ),
    "a head of 70 KB": (
        [LENGTH % 2, *(b"X-%d: %s\r\n" % (n, b"a" * 35_000) for n in range(2)), b"\r\n{}"],
        b"{}",
        False,
    ),
    "informational heads": (
        [b"HTTP/1.1 103 E\r\n\r\n" * 100 + LENGTH % 2 + b"\r\n{}"],
        b"{}",
        False,
    ),
    "gzip": (
        [
            LENGTH % len(gzip.compress(BODY)),
            b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(BODY),
        ],
        BODY,
        False,
    ),
}


@pytest.mark.parametrize("kind", HONEST)
def test_answers_of_every_framing_are_whole(kind: str, loop: asyncio.Runner) -> None:
    """Whole answers up to 2 MB, twice on one connection where it is kept."""
    pieces, body, close = HONEST[kind]
    assert len(body) <= limits.ANSWER_BYTES_MAX
    assert [body, body] == loop.run(_answered(pieces, close=close, times=2))
