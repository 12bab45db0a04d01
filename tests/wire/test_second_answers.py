"""What an upstream says unasked on a kept connection is nobody's answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import pytest

from productsearch import v1
from tests.conftest import ServerFactory
from tests.fakes.upstream import search_answer
from tests.pictures import jpeg


class TalkativeUpstream:
    """Answers searches by number; ``say_again`` sends the last answer once more."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lines: list[socket.socket] = []
        self._answered = 0
        self._last = b""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def say_again(self) -> None:
        """Send what nobody asked for on each open connection."""
        for line in self._lines:
            with suppress(OSError):  # the service has closed it
                line.sendall(self._last)

    def close(self) -> None:
        """End all connections."""
        for line in (self._listening, *self._lines):
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            self._lines.append(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line.makefile("rb") as requests:
            while path := _request(requests):
                body = {"access_token": "the-token", "expires_in": 2592000}
                if "search" in path:
                    self._answered += 1
                    body = search_answer(("1,2", 0.5, f"answer {self._answered}"))
                content = json.dumps(body).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n"
                self._last = head.encode() + content
                line.sendall(self._last)


def _request(requests: BinaryIO) -> str:
    """Read a request and return its path; empty: there is none."""
    first, length = requests.readline().decode(), 0
    while (field := requests.readline().strip().lower()) != b"":
        if field.startswith(b"content-length:"):
            length = int(field.partition(b":")[2])
    requests.read(length)
    return first and first.split()[1]


@pytest.fixture
def talkative() -> Iterator[TalkativeUpstream]:
    """Return an upstream that says things twice."""
    upstream = TalkativeUpstream()
    yield upstream
    upstream.close()


def test_it_is_never_another_callers(talkative: TalkativeUpstream, server: ServerFactory) -> None:
    """Each search has its own answer, on a new connection after something came unasked."""
    library = {"base_url": talkative.url, "api_key": "k", "secret_key": "s", "quota_qps": 0}
    running = server(libraries={"default": library})
    with v1.connect(f"127.0.0.1:{running.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        for number in range(1, 6):
            image = v1.ImageSource(content=jpeg(number))
            (hit,) = stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=20).results
            assert f"answer {number}" == hit.brief
            talkative.say_again()
            time.sleep(0.1)  # it is there before the next request
