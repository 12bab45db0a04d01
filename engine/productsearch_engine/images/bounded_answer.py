"""A host's answer, read with a bound on what is no content: heads, sizes of chunks, trailers.

The standard library reads interim answers and trailers without end, refuses heads that browsers
take, and knows no transfer coding but ``chunked``. An answer in chunks of two bytes takes it a
second of the interpreter for each megabyte. Knows HTTP as a client.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
from typing import Any

from productsearch_engine.images.errors import ImageSizeError, UrlRefusedError
from productsearch_engine.limits import (
    ANSWER_FIELDS_MAX,
    ANSWER_HEAD_BYTES_MAX,
    DOWNLOAD_BYTES_MAX,
    PIECE_BYTES_MIN,
    PIECES_MAX,
    TRANSFER_CODING_BYTES_MAX,
)

_READ_BYTES = 64 << 10
_INTERIM_MAX = 10
_INTERIM = re.compile(rb"HTTP/\S+ +1(?!01)\d\d")
"""The status line of an answer that only announces another (RFC 9110, section 15.2)."""
_CODINGS, _LENGTH = b"transfer-encoding", b"content-length"
_KEPT = (_LENGTH, b"content-encoding", b"location")
"""Fields that say what follows; cookies, policies and what else a host sends are passed over."""

_LONG = "sent too much beside the content"


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
            raise UrlRefusedError(_LONG)
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
        self._codings: list[str] = []

    def begin(self) -> None:
        """Read the head, after those that only announce it.

        Raises UrlRefusedError, EOFError, http.client.HTTPException, OSError.
        """
        wire = self.fp
        status, fields = _head(wire)
        codings = b",".join(fields.pop(_CODINGS, []))
        if len(codings) > TRANSFER_CODING_BYTES_MAX:  # each name costs an object
            raise UrlRefusedError(_LONG)
        self._codings = [
            name.strip().lower()
            for name in codings.decode("latin-1").split(",")
            if name.strip(" \t").lower() not in ("", "identity")
        ]
        if self._codings:
            fields.pop(_LENGTH, None)  # RFC 9112, section 6.3: it says nothing then
        if "chunked" in self._codings:
            fields[_CODINGS] = [b"chunked"]
        lines = [b"%b: %b" % (name, value) for name, values in fields.items() for value in values]
        self.fp = io.BufferedReader(io.BytesIO(b"\r\n".join([status, *lines, b"", b""])))
        try:
            super().begin()
        finally:
            self.fp = wire

    @property
    def encodings(self) -> str:
        """What the content was packed with, in that order, as in ``Content-Encoding``."""
        codings = [name for name in self._codings if name != "chunked"]
        return ", ".join([self.headers.get("Content-Encoding", ""), *codings])

    def content(self) -> bytes:
        """Return the content, as it was packed.

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
                raise UrlRefusedError("sent its answer in too many small pieces")
        if self.length:
            raise http.client.IncompleteRead(bytes(content), self.length)
        return bytes(content)


def _head(wire: io.BufferedIOBase) -> tuple[bytes, dict[bytes, list[bytes]]]:
    """Return the status line of the first answer that is one, and the fields that matter.

    Raises UrlRefusedError, EOFError, OSError.
    """
    for _ in range(_INTERIM_MAX):
        status, *lines = _lines(wire)
        if not _INTERIM.match(status):
            return status, _fields(lines)
    raise UrlRefusedError(_LONG)


def _lines(wire: io.BufferedIOBase) -> list[bytes]:
    lines: list[bytes] = []
    while len(lines) <= ANSWER_FIELDS_MAX:
        line = wire.readline(ANSWER_HEAD_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise EOFError("the host has closed")
        lines.append(line.rstrip(b"\r\n"))
        if not lines[-1]:
            return lines
    raise UrlRefusedError(_LONG)


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """Return values by name; a line without a colon is passed over, as browsers do."""
    fields: dict[bytes, list[bytes]] = {}
    values: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):  # goes on with the line before (RFC 9112, section 5.2)
            if values:
                values[-1] += b" " + line.strip()
            continue
        name, colon, value = line.partition(b":")
        name = name.strip().lower()
        known = colon and (name in _KEPT or name == _CODINGS)
        values = fields.setdefault(name, []) if known else []
        if known:
            values.append(value.strip())
    return fields
