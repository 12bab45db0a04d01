"""A token endpoint that answers without end: told long before its time, after little was read."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator

import pytest

from productsearch_service import limits
from productsearch_service.errors import UpstreamUnavailable
from productsearch_service.upstream.auth.credentials import FixedCredentials, KeyPair
from productsearch_service.upstream.auth.issuer import TokenIssuer
from tests.fakes import endless

KINDS = ("informational heads", "informational heads by ones", "chunk extension")
READ_MAX = 64 * 1024 * 1024
"""More than any answer, and than all buffers on the way."""
PIECE = b"a" * 65_536
BODIES = {
    "a body until the connection ends": b"HTTP/1.1 200 OK\r\n\r\n",
    "a body of a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
    "a body in chunks": endless.CHUNKED,
}


def _pieces(kind: str) -> Iterator[bytes]:
    if kind not in BODIES:
        return iter(endless.pieces(kind))
    piece = b"10000\r\n" + PIECE + b"\r\n" if BODIES[kind] is endless.CHUNKED else PIECE
    return itertools.chain([BODIES[kind]], itertools.repeat(piece))


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [*KINDS, *BODIES])
async def test_an_endless_answer_is_no_token(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the time for a request ends it, which is a minute here."""
    monkeypatch.setattr(limits, "TOKEN_FETCH_TIMEOUT_S", 60.0)
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in _pieces(kind):
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                if sent > READ_MAX:
                    break
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        pair = FixedCredentials(KeyPair("the-api-key", "the-secret-key"))
        issuer = TokenIssuer(f"http://127.0.0.1:{port}", None, pair)
        with pytest.raises(UpstreamUnavailable):
            async with asyncio.timeout(30):
                await issuer()
        issuer.close()
    assert sent < READ_MAX
