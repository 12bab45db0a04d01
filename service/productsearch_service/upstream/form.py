"""Encodes a form body: byte for byte what ``urllib.parse.urlencode`` makes, many times faster.

requests and urlencode look at each character of a base64 text in Python. Base64 needs only
three of its 65 characters escaped, so here the picture is encoded and escaped in blocks by
C code. A large one stays in the pieces it was made in, and goes to the socket so: joined, it
would be copied once more. Knows no field names and no HTTP.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

import pybase64

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Pieces = tuple[bytes, ...]
"""What makes a body, or the value of one of its fields, when joined."""

_WHOLE_BYTES: Final = 3 * 131_072
"""Up to here a picture is encoded at once. The encoder lets other threads have the interpreter
each time, and whoever lets go waits for it again."""
_BLOCK_BYTES: Final = 3 * 32_768
"""Encoded at once of a larger one, so that others get the interpreter in between; a multiple of
three: blocks of base64 join without padding."""
_PIECE_BYTES: Final = 9 * _BLOCK_BYTES
"""Joined to a piece, which is then a block of memory of its own (limits.OWN_BLOCK_BYTES_MIN)."""

_ESCAPES: Final = ((b"+", b"%2B"), (b"/", b"%2F"), (b"=", b"%3D"))

_JOINED_BYTES: Final = 600_000
"""Up to here a body is joined: another piece to send costs more than another copy of it."""

# Escaping keeps the interpreter: two large pictures at a time would only make both late, and all
# small calls with them.
_large = threading.Lock()


def encode(fields: Mapping[str, str | bytes]) -> bytes:
    """Return the body of ``fields`` in one piece; see ``pieces``."""
    return b"".join(pieces(fields))


def pieces(fields: Mapping[str, str | bytes | Pieces]) -> Pieces:
    """Return the ``application/x-www-form-urlencoded`` body of ``fields``, in their order.

    A str is escaped as UTF-8; bytes are base64-encoded first, as the upstream wants pictures;
    pieces are what ``escape`` made of a picture before.
    """
    body: list[bytes] = []
    words = ""
    for name, value in fields.items():
        words += f"{'&' if body or words else ''}{quote_plus(name)}="
        if isinstance(value, str):
            words += quote_plus(value)
        else:
            body.append(words.encode())
            body += escape(value) if isinstance(value, bytes) else value
            words = ""
    if words:
        body.append(words.encode())
    small = sum(map(len, body)) <= _JOINED_BYTES
    return (b"".join(body),) if small else tuple(body)


def escape(content: bytes) -> Pieces:
    """Return a picture as the value of a field: base64, escaped."""
    if len(content) <= _WHOLE_BYTES:
        return (_escaped(content),)
    view = memoryview(content)
    with _large:
        return tuple(
            b"".join(map(_escaped, _cut(piece, _BLOCK_BYTES))) for piece in _cut(view, _PIECE_BYTES)
        )


def measure(content: bytes, at_most: int) -> tuple[int, Pieces | None]:
    """Return the length of ``content`` as the value of a field, and that value if it was made.

    The length is exact up to ``at_most``. Where base64 alone is longer, that shorter length is
    returned: it is too long already. Nothing is made where even the longest escaping stays within.
    """
    plain = 4 * ((len(content) + 2) // 3)
    if plain > at_most or 3 * plain <= at_most:
        return plain, None
    escaped = escape(content)
    return sum(map(len, escaped)), escaped


def _escaped(block: bytes | memoryview) -> bytes:
    escaped = pybase64.b64encode(block)
    for character, code in _ESCAPES:  # each replaces the last: no more than two at a time
        escaped = escaped.replace(character, code)
    return escaped


def _cut(view: memoryview, size: int) -> Iterator[memoryview]:
    return (view[start : start + size] for start in range(0, len(view), size))
