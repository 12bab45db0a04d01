"""Decodes the ``image`` field of a form: base64 in the shapes that the contract allows.

Knows base64 and the size limit on the encoded value. Does not know image formats.
"""

from __future__ import annotations

import binascii
from contextlib import suppress

import pybase64

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.limits import ENCODED_BYTES_MAX


def decode_base64(encoded: bytes) -> bytes:
    """Return the bytes of an ``image`` value. Raises ApiError 216200 to 216203."""
    if not encoded:
        raise ApiError(codes.IMAGE_EMPTY)
    # A plus sign that was sent unescaped has been parsed as a blank.
    encoded = encoded.replace(b" ", b"+")
    if _urlencoded_bytes(encoded) > ENCODED_BYTES_MAX:
        raise ApiError(codes.IMAGE_SIZE)
    if encoded.startswith(b"data:") or b"%" in encoded:
        raise ApiError(codes.IMAGE_FORMAT)
    # pybase64 refuses some valid values, such as padding that is too long.
    with suppress(binascii.Error):
        return pybase64.b64decode(encoded, validate=True)
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        raise ApiError(codes.IMAGE_ENCODING) from None


def _urlencoded_bytes(encoded: bytes) -> int:
    """Return the value's length after urlencoding, however this one was sent.

    A value that cannot pass the limit even if every byte is escaped is not counted.
    """
    if 3 * len(encoded) <= ENCODED_BYTES_MAX:
        return len(encoded)
    escapes = encoded.count(b"+") + encoded.count(b"/") + encoded.count(b"=")
    return len(encoded) + 2 * escapes
