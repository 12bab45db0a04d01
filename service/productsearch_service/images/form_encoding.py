"""Encodes images as values of a form field: base64, then escaped for a form.

The result is byte for byte what ``urllib.parse.quote_plus`` makes of the base64 text. HTTP
libraries escape each character in Python; only three of base64's 65 characters need it, so three
replacements in C do the same many times faster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

import pybase64

from productsearch_service import limits
from productsearch_service.images import inspect
from productsearch_service.images.pool import Pool
from productsearch_service.turns import Turns

_BLOCK_BYTES: Final = 3 * 32_768
"""Encoded at a time. A multiple of three: then blocks of base64 join without padding."""
_TURNS_OF_OTHERS: Final = 4
"""Of the event loop, after each block, unless one takes as long as the block did. A small call
needs about a dozen turns: with one after each block it waits for a dozen blocks."""
_AT_ONCE_BYTES: Final = 4 * _BLOCK_BYTES
"""An image up to this size is encoded at once: turns would cost it more than they give others."""
_ESCAPES: Final = ((b"+", b"%2B"), (b"/", b"%2F"), (b"=", b"%3D"))


class FormEncoder:
    """Checks, fits and encodes the images of all calls of one service.

    Images are encoded on the event loop, large ones block by block and one at a time, of each
    caller in turn: a thread would take the GIL from the loop for longer than a block does. ``fit``
    has processes of its own. An image whose call has ended is not worked on any more.
    """

    def __init__(self) -> None:
        self._large = Turns(1, waiting_max=limits.WAITING_MAX)
        self.pool = Pool()

    async def form_value(
        self, content: bytes | memoryview, *, fits: bool, caller: str = ""
    ) -> tuple[bytes, ...]:
        """Return the form value of a checked image, in parts; ``fits``: fit it first, then check.

        Raises Unreadable or SizeInvalid; ServerOverloaded if too many wait; with ``fits``
        ServerOverloaded or ServerFault, too, if there is no process for it.
        """
        if fits:
            content = await self.pool.fit(content, caller)
            check(content)
        if len(content) <= _AT_ONCE_BYTES:
            return (_escaped(content),)
        parts = []
        async with self._large.turn(caller):
            for block in _blocks(content):
                began_s = time.monotonic()
                parts.append(_escaped(block))
                await _serve_others(time.monotonic() - began_s)
        inspect.check_length(sum(map(len, parts)))
        return tuple(parts)

    def close(self) -> None:
        """End the processes of ``fit``, whatever they do."""
        self.pool.close()


async def _serve_others(seconds: float) -> None:
    """Leave the event loop to others for some turns, and for not more than about ``seconds``."""
    until_s = time.monotonic() + seconds
    for _ in range(_TURNS_OF_OTHERS):
        await asyncio.sleep(0)
        if time.monotonic() >= until_s:
            break


def check(content: bytes | memoryview) -> None:
    """Raise Unreadable or SizeInvalid for what the upstream does not take, as far as is seen now.

    The exact length of the form value is known once it is made. What is too long is not read, and
    not copied.
    """
    inspect.check_length(length_min(content))
    inspect.check_sides(bytes(content))


def encode(content: bytes) -> bytes:
    """Return the form value of an image in one piece."""
    return b"".join(map(_escaped, _blocks(content)))


def length_min(content: bytes | memoryview) -> int:
    """Return the length of the base64 text: the form value is this long or longer."""
    return 4 * ((len(content) + 2) // 3)


def _escaped(block: bytes | memoryview) -> bytes:
    escaped = pybase64.b64encode(block)
    for character, code in _ESCAPES:
        escaped = escaped.replace(character, code)
    return escaped


def _blocks(content: bytes | memoryview) -> Iterator[memoryview]:
    view = memoryview(content)
    return (view[start : start + _BLOCK_BYTES] for start in range(0, len(view), _BLOCK_BYTES))
