"""An upstream whose answers never end, each kind in another part of HTTP; a process of its own.

``python -m tests.fakes.endless KIND`` prints its URL; requests for a token are answered as usual.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_TOKEN = json.dumps({"access_token": "the-token", "expires_in": 2592000}).encode()


def _fields() -> Iterator[bytes]:
    return (b"X-%d: %s\r\n" % (number, b"a" * 500) for number in itertools.count())


KINDS: dict[str, list[Iterable[bytes]]] = {
    "informational heads": [itertools.repeat(b"HTTP/1.1 103 E\r\n\r\n" * 4000)],
    "informational heads by ones": [itertools.repeat(b"HTTP/1.1 100 C\r\n\r\n")],
    "chunk extension": [[CHUNKED + b"2;x="], itertools.repeat(b"a" * 65_536)],
    "chunks of one byte": [[CHUNKED], itertools.repeat(b"1\r\n \r\n" * 10_000)],
    "fields": [[b"HTTP/1.1 200 OK\r\n"], _fields()],
    "trailers": [[CHUNKED + b"2\r\n{}\r\n0\r\n"], _fields()],
    "status line": [[b"HTTP/1.1 200 "], itertools.repeat(b"a" * 65_536)],
}


def pieces(kind: str) -> Iterator[bytes]:
    """Return what an answer of that kind consists of."""
    return itertools.chain(*KINDS[kind])


async def _serve(kind: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/oauth/" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_TOKEN))
                writer.write(_TOKEN)
                await writer.drain()
                return
            for piece in pieces(kind):
                writer.write(piece)
                await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    asyncio.run(_serve(parser.parse_args().kind))
