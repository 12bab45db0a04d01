"""Bounds what a message becomes before it is decoded: each field costs far more than its bytes.

Two bytes on the wire can begin a message of some hundred in memory, and the next two can replace it
by another, which takes as much again: 20 MiB of them are 350 in memory, and a second of everyone's
time. Reads the field numbers of protobuf's wire format and no contents.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Final

from productsearch.v1 import BatchDeleteImagesRequest
from productsearch_service import limits
from productsearch_service.errors import FieldInvalid, Violation

_SIGNS: Final = BatchDeleteImagesRequest.DESCRIPTOR.fields_by_name["cont_signs"].number
_METHODS: Final = BatchDeleteImagesRequest.DESCRIPTOR.file.services_by_name[
    "ProductSearch"
].methods_by_name
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}
_OTHER_FIELDS_MAX: Final = 100


def require_few_fields(method: str, content: bytes) -> None:
    """Raise FieldInvalid if the message of a call has many fields, those inside others included.

    None has more than twenty, so some come again and again.
    """
    left = limits.FIELDS_MAX
    parts = [(0, len(content), _METHODS[method].input_type)]
    while parts:
        position, end, kind_of = parts.pop()
        while position < end:
            left -= 1
            if not left:
                wrong = f"more than {limits.FIELDS_MAX} fields; send each field once"
                raise FieldInvalid(f"request: {wrong}", violations=(Violation("request", wrong),))
            tag, position = _varint(content, position)
            begin, position = _after(content, tag & 7, position)
            field = kind_of.fields_by_number.get(tag >> 3)
            if tag & 7 == _LENGTH and field is not None and field.message_type is not None:
                parts.append((begin, min(position, end), field.message_type))


def _after(content: bytes, kind: int, position: int) -> tuple[int, int]:
    """Return where a field's value begins and ends; marks of groups have none."""
    if kind == _LENGTH:
        length, position = _varint(content, position)
        return position, position + length
    if kind == _VARINT:
        return position, _varint(content, position)[1]
    return position, position + _FIXED_BYTES.get(kind, 0)


def batch_delete(content: bytes) -> BatchDeleteImagesRequest:
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
        _, position = _after(content, kind, position)
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
