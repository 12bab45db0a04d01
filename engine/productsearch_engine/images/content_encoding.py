"""Takes a downloaded image out of its content encodings: hosts pack though none was asked for.

What a host writes there is often no encoding at all (``UTF-8``, ``binary``, ``aws-chunked`` of a
storage): such words are passed over, as the image shows whether its bytes are right.
Source: RFC 9110, section 8.4.
"""

from __future__ import annotations

import zlib

from productsearch_engine.images.errors import ImageSizeError, UrlRefusedError
from productsearch_engine.limits import DOWNLOAD_BYTES_MAX, GZIP_MEMBERS_MAX

_PACKED = ("gzip", "x-gzip", "deflate")
_OTHERS = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")
"""Encodings that were not asked for, and are not known here."""
_TIMES_MAX = 3
_GZIP = b"\x1f\x8b"
_ZLIB_OR_GZIP, _BARE = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS


def decoded(content: bytes, encoding: str) -> bytes:
    """Return the content without the encodings that a ``Content-Encoding`` header names.

    Raises ImageSizeError where that is too large, UrlRefusedError, zlib.error.
    """
    names = [name.strip().lower() for name in encoding.split(",")]
    times = sum(name in _PACKED for name in names)
    if times > _TIMES_MAX or any(name in _OTHERS for name in names):
        raise UrlRefusedError("sent the image in an encoding that is not read")
    for _ in range(times):
        content = _unpacked(content)
    return content


def _unpacked(content: bytes) -> bytes:
    """Return what gzip, of one member or several, or deflate, with its head or bare, has packed."""
    try:
        return _all_of(content, _ZLIB_OR_GZIP)
    except zlib.error:
        return _all_of(content, _BARE)


def _all_of(content: bytes, wbits: int) -> bytes:
    """Return what all members hold, unless they are many: each costs a copy of all that follow."""
    plain = bytearray()
    for _ in range(GZIP_MEMBERS_MAX):
        decoder = zlib.decompressobj(wbits=wbits)
        plain += decoder.decompress(content, DOWNLOAD_BYTES_MAX + 1 - len(plain))
        if len(plain) > DOWNLOAD_BYTES_MAX:
            raise ImageSizeError
        if not decoder.eof:
            raise UrlRefusedError("sent a body that ends too early")
        content = decoder.unused_data
        if not content.startswith(_GZIP):  # nothing, or padding
            return bytes(plain)
    raise UrlRefusedError("sent a body of too many parts")
