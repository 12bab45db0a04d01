"""A host's answer, read with a bound on what is no content: heads, sizes of chunks, trailers.

The standard library reads interim answers and trailers without end, and an answer in chunks of two
bytes takes it a second of the interpreter for each megabyte. Knows HTTP as a client.
"""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any

from productsearch_engine.images.errors import ImageSizeError, UrlRefusedError
from productsearch_engine.limits import (
    ANSWER_HEAD_BYTES_MAX,
    DOWNLOAD_BYTES_MAX,
    PIECE_BYTES_MIN,
    PIECES_MAX,
)

_READ_BYTES = 64 << 10
_INTERIM_MAX = 10


class _Wire(io.RawIOBase):
    """The bytes of a connection, no more than ``left``."""

    def __init__(self, raw: io.RawIOBase):
        super().__init__()
        self._raw = raw
        self.left = ANSWER_HEAD_BYTES_MAX

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there. Raises UrlRefusedError, OSError."""
        count: int = self._raw.readinto(buffer) or 0
        self.left -= count
        if self.left < 0:
            raise UrlRefusedError
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class BoundedAnswer(http.client.HTTPResponse):
    """An answer of which no more than a bound is read."""

    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any):
        super().__init__(sock, *arguments, **named)
        self._wire = _Wire(self.fp.detach())
        self.fp = io.BufferedReader(self._wire)

    def begin(self) -> None:
        """Read the head, after those that only announce it (RFC 9110, section 15.2)."""
        for _ in range(_INTERIM_MAX):
            super().begin()
            if not 100 < self.status < 200 or self.status == http.client.SWITCHING_PROTOCOLS:
                return
            self.headers = self.msg = None  # type: ignore[assignment]
        raise UrlRefusedError

    def content(self) -> bytes:
        """Return the content.

        Raises ImageSizeError, UrlRefusedError, http.client.HTTPException, OSError.
        """
        self._wire.left = DOWNLOAD_BYTES_MAX + ANSWER_HEAD_BYTES_MAX
        content, pieces = bytearray(), 0
        while piece := self.read1(_READ_BYTES):
            content += piece
            pieces += 1
            if len(content) > DOWNLOAD_BYTES_MAX:
                raise ImageSizeError
            if pieces > PIECES_MAX + len(content) // PIECE_BYTES_MIN:
                raise UrlRefusedError
        if self.length:
            raise http.client.IncompleteRead(bytes(content), self.length)
        return bytes(content)
