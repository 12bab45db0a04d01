"""Encodes a form body: byte for byte what ``urllib.parse.urlencode`` makes, many times faster.

requests and urlencode look at each character of a base64 text in Python. Base64 needs only
three of its 65 characters escaped, so here the picture is encoded and escaped in blocks by
C code. A large one is written into a buffer that is used again (``release``): fresh memory for
it would cost half as much again as encoding. Knows no field names and no HTTP.
"""

from __future__ import annotations

import mmap
from collections import deque
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote_plus

import pybase64

from productsearch_service import limits, preparing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Pieces = tuple[bytes | memoryview, ...]
"""What makes a body, or the value of one of its fields, when joined."""

_BLOCK_BYTES: Final = 3 * 32_768
"""Encoded at once of a large picture, so that others get the interpreter in between; a multiple of
three: blocks of base64 join without padding. Small ones are encoded whole: the encoder lets go of
the interpreter each time, and whoever lets go waits for it again."""
_BUFFER_BYTES: Final = 3 * limits.IMAGE_ENCODED_BYTES_MAX
"""Enough for any picture. Only what was written to has memory, so this much costs nothing."""

_ESCAPES: Final = ((b"+", b"%2B"), (b"/", b"%2F"), (b"=", b"%3D"))

_buffers: deque[mmap.mmap] = deque(maxlen=limits.FORM_BUFFERS_KEPT)
"""Those that wait for their next picture; taken while it is made ready alone."""


def encode(fields: Mapping[str, str | bytes]) -> bytes:
    """Return the body of ``fields`` in one piece; see ``pieces``."""
    return b"".join(pieces(fields))


def pieces(fields: Mapping[str, str | bytes | Pieces]) -> Pieces:
    """Return the ``application/x-www-form-urlencoded`` body of ``fields``, in their order.

    A str is escaped as UTF-8; bytes are base64-encoded first, as the upstream wants pictures;
    pieces are what ``escape`` made of a picture before.
    """
    body: list[bytes | memoryview] = []
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
    if any(isinstance(piece, memoryview) for piece in body):
        return tuple(body)
    return (b"".join(body),)


def escape(content: bytes) -> Pieces:
    """Return a picture as the value of a field: base64, escaped."""
    if len(content) <= limits.LARGE_BYTES_MIN:
        return (_escaped(content),)
    with preparing.alone(len(content)):
        buffer = _buffer(3 * _plain_length(content))
        for block in _cut(memoryview(content), _BLOCK_BYTES):
            buffer.write(_escaped(block))
        return (memoryview(buffer)[: buffer.tell()],)


def release(body: Pieces) -> None:
    """Give back the buffer of a body that was sent. Nobody can read the body after that.

    A body that is not given back only costs the next picture fresh memory.
    """
    for piece in body:
        if isinstance(piece, memoryview):
            buffer, length = cast("mmap.mmap", piece.obj), len(piece)
            piece.release()  # whoever reads it now gets an error, and not another's picture
            if length <= limits.IMAGE_ENCODED_BYTES_MAX:  # no more memory than that is kept
                _buffers.append(buffer)


def measure(content: bytes, at_most: int) -> tuple[int, Pieces | None]:
    """Return the length of ``content`` as the value of a field, and that value if it was made.

    The length is exact up to ``at_most``. Where base64 alone is longer, that shorter length is
    returned: it is too long already. Nothing is made where even the longest escaping stays within.
    """
    plain = _plain_length(content)
    if plain > at_most or 3 * plain <= at_most:
        return plain, None
    escaped = escape(content)
    return sum(map(len, escaped)), escaped


def _plain_length(content: bytes) -> int:
    """Return the length of its base64, of which each character can become three."""
    return 4 * ((len(content) + 2) // 3)


def _buffer(at_least: int) -> mmap.mmap:
    if _buffers and at_least <= _BUFFER_BYTES:
        buffer = _buffers.pop()
        buffer.seek(0)
        return buffer
    return mmap.mmap(-1, max(at_least, _BUFFER_BYTES), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _escaped(block: bytes | memoryview) -> bytes:
    escaped = pybase64.b64encode(block)
    for character, code in _ESCAPES:  # each replaces the last: no more than two at a time
        escaped = escaped.replace(character, code)
    return escaped


def _cut(view: memoryview, size: int) -> Iterator[memoryview]:
    return (view[start : start + size] for start in range(0, len(view), size))
