"""Bounds a BatchDeleteImagesRequest before it is decoded: each entry costs far more than its bytes.

Reads the field numbers of protobuf's wire format and no contents.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Final

from productsearch.v1 import BatchDeleteImagesRequest
from productsearch_service import limits
from productsearch_service.errors import FieldInvalid, Violation

_SIGNS: Final = BatchDeleteImagesRequest.DESCRIPTOR.fields_by_name["cont_signs"].number
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}
_OTHER_FIELDS_MAX: Final = 100


def decoded(content: bytes) -> BatchDeleteImagesRequest:
    """Return the request; raise FieldInvalid if it has too many signatures, or DecodeError."""
    if len(content) > limits.BATCH_BYTES_MAX:
        raise _refused(f"the request has {len(content)} bytes, {limits.BATCH_BYTES_MAX} at most")
    if _entries(content) > limits.BATCH_SIGNS_MAX:
        raise _refused(f"more than {limits.BATCH_SIGNS_MAX} signatures")
    return BatchDeleteImagesRequest.FromString(content)


def _entries(content: bytes) -> int:
    """Return how many signatures there are, as far as is needed to know that it is too many."""
    signs, others, position = 0, 0, 0
    # What is not well formed ends the count; decoding refuses it.
    while position < len(content) and signs <= limits.BATCH_SIGNS_MAX:
        tag, position = _varint(content, position)
        kind = tag & 7
        if tag >> 3 == _SIGNS and kind == _LENGTH:
            signs += 1
        else:
            others += 1
            if others > _OTHER_FIELDS_MAX:
                return limits.BATCH_SIGNS_MAX + 1
        if kind == _LENGTH:
            length, position = _varint(content, position)
            position += length
        elif kind == _VARINT:
            _, position = _varint(content, position)
        elif kind in _FIXED_BYTES:
            position += _FIXED_BYTES[kind]
        else:
            break
    return signs


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """Return a number and where it ends; past the end of the content there are zeros."""
    number = shift = 0
    for byte in content[position : position + 10]:
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return number, position


def _refused(found: str) -> FieldInvalid:
    wrong = f"{found}; use at most {limits.BATCH_SIGNS_MAX} in one call and split the rest"
    return FieldInvalid(f"cont_signs: {wrong}", violations=(Violation("cont_signs", wrong),))
