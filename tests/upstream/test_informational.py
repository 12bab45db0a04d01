"""Informational answers (1xx) come before the real one and are read past."""

from __future__ import annotations

import asyncio

import pytest

from productsearch_service.call_context import Deadline
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedText

BODY = b'{"log_id": 1}'
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("codes", [(103,), (100,), (102,), (100, 102, 103, 103), (199,)])
async def test_the_answer_after_them_counts(codes: tuple[int, ...], size: int) -> None:
    """Before or after the whole request was read, on a new and on a kept connection."""
    hints = b"".join(b"HTTP/1.1 %d Hint\r\nLink: </a>\r\n\r\n" % code for code in codes)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            writer.write(hints)
            await writer.drain()
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(hints + FINAL)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        transport = Transport(f"http://127.0.0.1:{port}")
        for _ in range(2):
            told = await transport.post("/p", MaskedText(), (b"x" * size,), Deadline.after(10))
            assert (200, BODY, 0) == told
        await transport.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
