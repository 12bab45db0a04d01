"""Answers as image hosts write them: encodings, announcements, redirects."""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Callable, Iterator

import pytest

from productsearch_engine.images.download import Downloader
from productsearch_engine.images.errors import ImageSizeError, UrlRefusedError
from productsearch_engine.limits import DOWNLOAD_BYTES_MAX, GZIP_MEMBERS_MAX
from tests.engine.image_files import jpeg

IMAGE = jpeg(1)
Says = Callable[[bytes], str]


@pytest.fixture
def says() -> Iterator[Says]:
    """Return a function that returns the address of a host which says just that."""
    listening: list[socket.socket] = []

    def host(answer: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    asked = line.recv(65536)
                    known = ok(IMAGE) if b"GET /image.jpg" in asked else answer
                    line.sendall(known.replace(b"HERE", b"127.0.0.1:%d" % server.getsockname()[1]))

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/first"

    yield host
    for server in listening:
        server.close()


def ok(content: bytes, *fields: str, status: str = "200 OK", before: str = "") -> bytes:
    """Return an answer with a length, which leaves out ``after`` at its end."""
    length = len(content.removesuffix(b"after"))
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", *fields, "", ""]
    return before.encode() + "\r\n".join(lines).encode() + content


def packed(content: bytes, wbits: int) -> bytes:
    """Return content as zlib packs it: 31 is gzip, 15 zlib, -15 bare deflate."""
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(content) + packer.flush()


HALVES = IMAGE[:500], IMAGE[500:]
TAKEN = {
    "gzip": ("gzip", packed(IMAGE, 31)),
    "zlib": ("deflate", packed(IMAGE, 15)),
    "bare deflate": ("deflate", packed(IMAGE, -15)),
    "twice": ("gzip, gzip", packed(packed(IMAGE, 31), 31)),
    "deflate in gzip": ("deflate, gzip", packed(packed(IMAGE, -15), 31)),
    "two members": ("gzip", b"".join(packed(half, 31) for half in HALVES)),
    "many members": ("gzip", packed(b"", 31) * (GZIP_MEMBERS_MAX - 1) + packed(IMAGE, 31)),
    "with padding": ("gzip", packed(IMAGE, 31) + bytes(9)),
    "and nothing more": ("GZIP, identity,", packed(IMAGE, 31)),
    "of a storage": ("gzip,aws-chunked", packed(IMAGE, 31)),
    "aws-chunked": ("aws-chunked", IMAGE),
    "none": ("none", IMAGE),
    "a charset": ("UTF-8", IMAGE),
    "binary": ("binary", IMAGE),
    "identity twice": ("identity, identity", IMAGE),
}


@pytest.mark.parametrize("name", TAKEN)
def test_encodings(name: str, says: Says) -> None:
    """What hosts write there, and what they do."""
    encoding, content = TAKEN[name]
    url = says(ok(content, f"Content-Encoding: {encoding}"))
    assert IMAGE == Downloader(allow_private=True).download(url)


@pytest.mark.parametrize(
    ("encoding", "content", "error"),
    [
        ("gzip", packed(IMAGE, 31)[:-20], UrlRefusedError),
        ("gzip", IMAGE, UrlRefusedError),
        ("gzip", packed(bytes(DOWNLOAD_BYTES_MAX + 1), 31), ImageSizeError),
        ("gzip, gzip", packed(packed(bytes(DOWNLOAD_BYTES_MAX + 1), 31), 31), ImageSizeError),
        ("gzip", packed(bytes(DOWNLOAD_BYTES_MAX // 2 + 1), 31) * 2, ImageSizeError),
        ("gzip, gzip, gzip, gzip", packed(IMAGE, 31), UrlRefusedError),
        ("gzip", packed(b"", 31) * GZIP_MEMBERS_MAX + packed(IMAGE, 31), UrlRefusedError),
        ("gzip, gzip", packed(packed(b"", 31) * 20_000, 31), UrlRefusedError),
    ],
    ids=[
        *("cut", "not packed", "a bomb", "a bomb in a bomb", "a bomb of members", "too often"),
        *("one member too many", "members in a member"),
    ],
)
def test_what_cannot_be_unpacked(
    encoding: str, content: bytes, error: type[Exception], says: Says
) -> None:
    """One bound holds over all layers and members."""
    url = says(ok(content, f"Content-Encoding: {encoding}"))
    with pytest.raises(error):
        Downloader(allow_private=True).download(url)


HEADS = {
    "103": ok(IMAGE, before="HTTP/1.1 103 Early Hints\r\nLink: </x.css>; rel=preload\r\n\r\n"),
    "102, 100": ok(IMAGE, before="HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
    "203": ok(IMAGE, status="203 Non-Authoritative Information"),
    "two locations": ok(b"", "Location: /image.jpg", "Location: /other.jpg", status="302 Found"),
    "backslash": ok(b"", "Location: /\\HERE/image.jpg", status="302 Found"),
    "backslashes": ok(b"", "Location: http:\\\\HERE\\image.jpg", status="302 Found"),
    "900 fields": ok(IMAGE + b"after", *(f"X-Field-{n}: {n}" for n in range(900))),
    "a cookie of 70 KB": ok(IMAGE + b"after", "Set-Cookie: a=" + "x" * 70_000),
    "cookies of 240 KB": ok(IMAGE + b"after", *["Set-Cookie: a=" + "x" * 4000] * 60),
    "4 KB of location": ok(b"", "Location: /image.jpg#" + "x" * 4000, status="302 Found"),
    "a line without a colon": ok(IMAGE + b"after", "nonsense", "\xff\xfe"),
    "folded": ok(IMAGE + b"after", "X-Long: a", " b", "Content-Encoding:", "  identity"),
    "a blank before the colon": ok(IMAGE + b"after", "Content-Encoding : identity"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str, says: Says) -> None:
    """Announcements, a proxy's own status, redirects and long heads, as browsers read them."""
    assert IMAGE == Downloader(allow_private=True).download(says(HEADS[name]))


def in_chunks(content: bytes, coding: str, *fields: str) -> bytes:
    """Return an answer in chunks of 1,000 bytes."""
    lines = ["HTTP/1.1 200 OK", f"Transfer-Encoding: {coding}", *fields, "", ""]
    pieces = [content[at : at + 1000] for at in range(0, len(content), 1000)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "\r\n".join(lines).encode() + chunks + b"0\r\n\r\n"


CODINGS = {
    "chunked": in_chunks(IMAGE, "Chunked"),
    "gzip, chunked": in_chunks(packed(IMAGE, 31), "gzip, chunked"),
    "of two fields": in_chunks(packed(IMAGE, 31), "gzip", "Transfer-Encoding: chunked"),
    "deflate, chunked": in_chunks(packed(IMAGE, -15), "deflate,chunked"),
    "identity, chunked": in_chunks(IMAGE, "identity, chunked"),
    "beside a length": in_chunks(IMAGE, "chunked", "Content-Length: 7"),
    "both packed": in_chunks(
        packed(packed(IMAGE, 15), 31), "gzip, chunked", "Content-Encoding: deflate"
    ),
    "gzip alone": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + packed(IMAGE, 31),
    "identity alone": ok(IMAGE + b"after", "Transfer-Encoding: identity"),
}


@pytest.mark.parametrize("name", CODINGS)
def test_transfer_codings(name: str, says: Says) -> None:
    """A transfer coding is taken off whatever else the host has packed."""
    assert IMAGE == Downloader(allow_private=True).download(says(CODINGS[name]))


@pytest.mark.parametrize(
    "answer",
    [
        ok(IMAGE, *(f"X-Field-{n}: {n}" for n in range(1001))),
        ok(IMAGE, "Set-Cookie: a=" + "x" * (600 << 10)),
        ok(IMAGE)[:30],
        b"",
        in_chunks(IMAGE, "br, chunked"),
        in_chunks(IMAGE, "identity," * 200 + "chunked"),
        in_chunks(packed(IMAGE, 31), "gzip, chunked")[:-400],
    ],
    ids=["fields", "bytes", "half a head", "nothing", "br, chunked", "codings", "cut"],
)
def test_what_is_no_answer(answer: bytes, says: Says) -> None:
    """Bounds hold over the head, and a head or content that is cut is none."""
    with pytest.raises(UrlRefusedError):
        Downloader(allow_private=True).download(says(answer))


def test_announcements_without_end(says: Says) -> None:
    """They end, and so does the download."""
    url = says(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)
    with pytest.raises(UrlRefusedError):
        Downloader(allow_private=True).download(url)
