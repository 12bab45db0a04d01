"""Reads requests with httptools, and hears no wish for another protocol (RFC 9110, 7.8).

Java's own HTTP client and ``curl --http2`` send one with their first request to a host (Upgrade:
h2c). httptools takes the request's body for the other protocol then. So it is given the head again,
without the wish, and reads on.
"""

from __future__ import annotations

from typing import Protocol

import httptools


class Reader(Protocol):
    """What a request is read for; httptools calls its ``on_...`` methods, too."""

    url: bytes
    headers: list[tuple[bytes, bytes]]


class RequestParser:
    """As much of httptools' parser as uvicorn uses."""

    def __init__(self, reader: Reader):
        self._reader = reader
        self._parser = self._new()

    def feed_data(self, data: bytes) -> None:
        """Parse what has come. Raises HttpParserError."""
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as wish:
                if self._parser.get_method() == b"CONNECT":
                    raise httptools.HttpParserError("CONNECT") from None
                data = self._head_without_wish() + data[wish.args[0] :]
                self._parser = self._new()
            else:
                return

    @property
    def is_wish(self) -> bool:
        """Whether the head that was read is one that will be read again."""
        return bool(self._parser.should_upgrade())

    def should_upgrade(self) -> bool:
        """Return that no request changes the protocol."""
        return False

    def should_keep_alive(self) -> bool:
        """Return whether the connection stays open after the request."""
        return bool(self._parser.should_keep_alive())

    def get_http_version(self) -> str:
        """Return ``1.0`` or ``1.1``, or what the request says."""
        return str(self._parser.get_http_version())

    def get_method(self) -> bytes:
        """Return the request's method."""
        return bytes(self._parser.get_method())

    def _new(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._reader)
        # As uvicorn sets it: what follows a last request is ignored.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _head_without_wish(self) -> bytes:
        version = self.get_http_version().encode("ascii")
        lines = [b"%b %b HTTP/%b" % (self.get_method(), self._reader.url, version)]
        lines += [b"%b: %b" % pair for pair in self._reader.headers if pair[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
