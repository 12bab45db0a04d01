"""Page tokens: where the next page begins, and which search it belongs to.

A token is a version, the rank the next page begins at and a fingerprint of what must stay the
same between pages, in base64url. The rank moves on by the size that was asked for, because the
upstream's pages can be short. Tokens hold no secret and need no key: a forged one reaches
nothing that ``skip`` does not.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import struct
from typing import Final

from productsearch_service import limits

_LAYOUT: Final = struct.Struct(">BH12s")
_VERSION: Final = 1
_FINGERPRINT_BYTES: Final = 12
_CHARS: Final = 4 * (_LAYOUT.size // 3)
"""Of each token; to decode one of 20 MB would take the event loop most of a second."""


class ForeignToken(ValueError):
    """The token was made for another search, or not here."""


async def fingerprint(what: tuple[object, ...], content: bytes | memoryview) -> bytes:
    """Return 12 bytes that tell searches apart: by ``what`` was asked, and by the image's bytes."""
    # Processors have instructions for SHA-256: a third of the time that BLAKE2 takes.
    digest = hashlib.sha256(repr(what).encode())
    if len(content) <= limits.PACED_BYTES:
        digest.update(content)
    else:  # hashlib leaves the GIL to others meanwhile
        await asyncio.to_thread(digest.update, content)
    return digest.digest()[:_FINGERPRINT_BYTES]


def encode(start: int, search_fingerprint: bytes) -> str:
    """Return the token of the page that begins at rank ``start``."""
    packed = _LAYOUT.pack(_VERSION, start, search_fingerprint)
    return base64.urlsafe_b64encode(packed).decode()


def decode(token: str, search_fingerprint: bytes) -> int:
    """Return the rank that the page of ``token`` begins at; raise ForeignToken."""
    if len(token) != _CHARS:
        raise ForeignToken("not a page token of this service")
    try:
        version, start, made_for = _LAYOUT.unpack(
            base64.b64decode(token, altchars=b"-_", validate=True)
        )
    except (binascii.Error, struct.error, ValueError):
        raise ForeignToken("not a page token of this service") from None
    if version != _VERSION or start >= limits.RESULT_WINDOW:
        raise ForeignToken("not a page token of this service")
    if made_for != search_fingerprint:
        raise ForeignToken(
            "made for another search; keep all fields but page_size and skip unchanged"
        )
    return int(start)
