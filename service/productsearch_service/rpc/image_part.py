"""Finds the image of a large message on the wire, so that the event loop need not copy it.

Decoding copies a message of 20 MB, and taking the image out of it copies it again. The image goes
on as a part of what was received, and the rest is decoded with an empty image in its place.
A message that is not plain is left to be decoded whole: only protobuf knows what it means.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor

from productsearch import v1
from productsearch_service import limits

BYTES_MIN: Final = limits.IMAGE_ENCODED_BYTES_MAX // 4 * 3 + 1
"""An image from this size on is found: without ``fit`` it is refused by its length alone. The
copies of smaller ones stay in the heap and take a tenth of a millisecond."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES_MAX: Final = 10
_NUMBER_BYTES_MAX: Final = 5
"""Of a tag or a length."""
_TAG_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class _Step:
    """A field on the way from a request to its image; ``rivals`` are its oneof's other members."""

    number: int
    rivals: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Found:
    """Where the one field of a number has its tag's end, and where its value begins and ends."""

    tag_end: int
    begin: int
    end: int


class _NotPlain(Exception):
    """The message does not say what is meant in the one way that is read here."""


def cut(method: str, content: bytes, bytes_min: int = BYTES_MIN) -> tuple[bytes, memoryview] | None:
    """Return the message of a call with an empty image, and its image, a part of ``content``.

    None if there is no image of ``bytes_min`` at least, or if the message is not plain: each field
    on the way to the image once, without another member of its oneof, tags and lengths as short as
    can be, no groups, nothing cut off.
    """
    way = _WAYS.get(method, ())
    begin, end, passed = 0, len(content), []
    try:
        for step in way:
            found = _the_one(content, begin, end, step)
            passed.append((content[begin : found.tag_end], content[found.end : end]))
            begin, end = found.begin, found.end
            if end - begin < bytes_min:
                return None
    except _NotPlain:
        return None
    if not passed:
        return None
    rest = b""
    for before, after in reversed(passed):
        rest = b"".join((before, _as_varint(len(rest)), rest, after))
    return rest, memoryview(content)[begin:end]


def _way(kind: Descriptor) -> tuple[_Step, ...]:
    """Return the fields that lead from a message to the bytes of its image; () if it has none."""
    is_image = kind is v1.ImageSource.DESCRIPTOR
    for field in kind.fields:
        rest = () if field.message_type is None else _way(field.message_type)
        if rest or (is_image and field.name == "content"):
            others = field.containing_oneof.fields if field.containing_oneof else ()
            rivals = frozenset(other.number for other in others) - {field.number}
            return _Step(field.number, rivals), *rest
    return ()


_WAYS: Final = {
    method.name: _way(method.input_type)
    for method in v1.ImageSource.DESCRIPTOR.file.services_by_name["ProductSearch"].methods
}


def _the_one(content: bytes, position: int, end: int, step: _Step) -> _Found:
    """Return the one field of a step in a message; raise _NotPlain."""
    found = None
    while position < end:
        tag, tag_end = _plain_varint(content, position, end)
        number, kind = tag >> 3, tag & 7
        begin, position = _value(content, kind, tag_end, end)
        if not number or tag > _TAG_MAX or number in step.rivals:
            raise _NotPlain
        if number == step.number:
            if found is not None or kind != _LENGTH:
                raise _NotPlain
            found = _Found(tag_end, begin, position)
    if found is None:
        raise _NotPlain
    return found


def _value(content: bytes, kind: int, position: int, end: int) -> tuple[int, int]:
    """Return where a field's value begins and ends; raise _NotPlain."""
    begin = position
    if kind == _LENGTH:
        length, begin = _plain_varint(content, position, end)
        position = begin + length
    elif kind == _VARINT:
        last = next(
            (at for at in range(begin, min(begin + _VARINT_BYTES_MAX, end)) if content[at] < 0x80),
            end,
        )
        position = last + 1
    elif kind in _FIXED_BYTES:
        position = begin + _FIXED_BYTES[kind]
    else:
        raise _NotPlain
    if position > end:
        raise _NotPlain
    return begin, position


def _plain_varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a tag or a length and where it ends; raise _NotPlain unless it is a shortest one."""
    number = 0
    for count, byte in enumerate(content[position : min(position + _NUMBER_BYTES_MAX, end)]):
        number |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if count and not byte:
                break
            return number, position + count + 1
    raise _NotPlain


def _as_varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*parts, number))
