"""A web server whose answers are nearly right: what hosts of images send to the engine."""

from __future__ import annotations

import gzip
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tests.engine.image_files import jpeg
from tests.soak.engine_calls import mutated

_IMAGE: Final = jpeg(2, (300, 300))
_PLACES: Final = (
    b"/1", b"//x", b"http://[x", b"http://a..b/", b"ftp://a/", b"/gr\xc3\xb6\xc3\x9fe 1.jpg", b"?",
    b"#", b"", b"http://\xff/", b"http://127.0.0.1:1/", b"https://u:p@a/", b"\x00", b"/" * 2000,
)  # fmt: skip
_HEADS: Final = (
    b"Content-Length: -1", b"Content-Length: 99999999999", b"Content-Length: x",
    b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Encoding: identity, gzip",
    b"Transfer-Encoding: chunked", b"Content-Type: text/html", b"Set-Cookie: \xff", b"X", b": x",
    b"A: " + b"b" * 9000, b"Content-Length: 5\r\nContent-Length: 6",
)  # fmt: skip


@contextmanager
def serving(seed: int) -> Iterator[str]:
    """Yield the base URL of a server on loopback; it closes each connection after its answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        threading.Thread(target=_serve, args=(listener, random.Random(seed)), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, chance: random.Random) -> None:
    while True:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        with accepted, suppress(OSError):
            accepted.settimeout(2)
            accepted.recv(65536)
            accepted.sendall(answer(chance))


def answer(chance: random.Random) -> bytes:
    """Return what a host says to a request."""
    status = chance.choice((b"200 OK", b"200 OK", b"302 Found", b"404 No", b"100 Go", b"999", b""))
    body = chance.choice((_IMAGE, _IMAGE[:700], b"", gzip.compress(_IMAGE), b"<html>"))
    heads = [b"HTTP/1.1 " + status]
    heads += chance.sample(_HEADS, chance.choice((0, 0, 0, 1, 2)))
    if status.startswith(b"302"):
        heads.append(b"Location: " + chance.choice(_PLACES))
    said = b"\r\n".join([*heads, b"Connection: close", b"", body])
    return mutated(chance, said) if chance.random() < 0.3 else said
