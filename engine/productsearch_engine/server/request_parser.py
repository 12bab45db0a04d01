"""Reads requests, and goes on where a client offers another protocol.

A client may offer to speak HTTP/2 (Java's and curl's do), TLS or WebSocket after a request
(``Upgrade``). A server that does not want to ignores that and answers the request (RFC 9110,
section 7.8). llhttp ends such a request at its head, and takes its body for something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import httptools


class Reader(Protocol):
    """Whom the parser tells what it reads."""

    url: bytes
    headers: list[tuple[bytes, bytes]]


class RequestParser(httptools.HttpRequestParser):
    """llhttp, which reads the head of a request with an offer once more without it."""

    def __init__(self, reader: Reader):
        super().__init__(reader)
        self._reader = reader
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    @property
    def is_offer(self) -> bool:
        """Whether this head has an offer; it is read again, so it is no request yet, or refused."""
        return bool(self.should_upgrade())

    def feed_data(self, data: Any) -> None:
        """Read what has come; raises as httptools does, but for HttpParserUpgrade."""
        while True:
            try:
                super().feed_data(data)
            except httptools.HttpParserUpgrade as ended:
                if self.get_method() == b"CONNECT":  # the one method that is an offer itself
                    raise httptools.HttpParserError("CONNECT") from None
                data = self._head_without_offer() + data[ended.args[0] :]
            else:
                return

    def _head_without_offer(self) -> bytes:
        kept: Iterable[tuple[bytes, bytes]] = (
            header for header in self._reader.headers if header[0] != b"upgrade"
        )
        line = b"%b %b HTTP/%b\r\n" % (
            self.get_method(),
            self._reader.url,
            self.get_http_version().encode(),
        )
        return b"".join([line, *(b"%b: %b\r\n" % header for header in kept), b"\r\n"])
