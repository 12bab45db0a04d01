"""The image of a large message is found on the wire, and nothing is understood otherwise for that.

What protobuf makes of the rest, with the image put in, is what it makes of the whole message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch import v1
from productsearch_service import limits
from productsearch_service.errors import FieldInvalid
from productsearch_service.rpc import image_part, interceptor
from productsearch_service.turns import Pace

KINDS: dict[str, tuple[type[Any], Callable[[Any], v1.ImageSource]]] = {
    "AddImage": (v1.AddImageRequest, lambda it: it.new_image.image),
    "SearchImages": (v1.SearchImagesRequest, lambda it: it.image),
    "UpdateImage": (v1.UpdateImageRequest, lambda it: it.image_ref.image),
    "DeleteImage": (v1.DeleteImageRequest, lambda it: it.image_ref.image),
    "BulkAddImages": (v1.BulkAddImagesRequest, lambda it: it.item.new_image.image),
}
LARGE = limits.PACED_BYTES
WHOLE_TAGS = st.sampled_from([b"\x0b", b"\x0c", b"\x0e", b"\x0f", b"\x00", b"\x02\x00"])
"""Begin and end of a group, kinds that are none, and fields of the number 0."""


def varint(number: int, *, padding: int = 0) -> bytes:
    """Return a number on the wire, longer than it has to be by ``padding`` bytes."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    if not padding:
        return bytes((*parts, number))
    return bytes((*parts, number | 128, *[128] * (padding - 1), 0))


def field(number: int, content: bytes, tag_padding: int = 0, padding: int = 0) -> bytes:
    """Return a field of a length on the wire."""
    tag = varint(number << 3 | 2, padding=tag_padding)
    return tag + varint(len(content), padding=padding) + content


def paddings() -> st.SearchStrategy[int]:
    """Return a strategy that seldom makes a number longer than it has to be."""
    return st.sampled_from([0] * 30 + [1, 2, 5])


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor) -> bytes:
    """Draw a message on the wire: its own fields, mostly once and as they are meant, and others."""
    parts = []
    numbers = [each.number for each in kind.fields]
    for _ in range(draw(st.integers(0, 4))):
        number = draw(st.sampled_from([*numbers * 4, 99]))
        known = kind.fields_by_number.get(number)
        if known is not None and known.message_type is not None:
            inner = draw(messages(known.message_type))
            parts.append(field(number, inner, draw(paddings()), draw(paddings())))
        elif known is not None and known.type in (known.TYPE_BYTES, known.TYPE_STRING):
            inner = draw(st.binary(max_size=3) | st.just(b"x" * 200))
            parts.append(field(number, inner, draw(paddings()), draw(paddings())))
        else:
            wire_kind, value = draw(
                st.sampled_from([(0, varint(draw(st.integers(0, 2**64 - 1)))), (1, bytes(8))])
                | st.sampled_from([(5, bytes(4)), (2, b"\x01a"), (0, b"\xff" * 9 + b"\x7f")])
            )
            parts.append(varint(number << 3 | wire_kind, padding=draw(paddings())) + value)
    if draw(st.integers(0, 30)) == 0:
        parts.insert(draw(st.integers(0, len(parts))), draw(WHOLE_TAGS))
    return b"".join(parts)


def cut_as_protobuf_decodes(method: str, content: bytes, bytes_min: int = 0) -> bool:
    """Check that a message means the same if its image is cut out; return whether it was."""
    kind, source_of = KINDS[method]
    parts = image_part.cut(method, content, bytes_min)
    if parts is None:
        return False
    rest, image = parts
    assert image.obj is content
    try:
        expected = kind.FromString(content)
    except DecodeError:
        with pytest.raises(DecodeError):
            kind.FromString(rest)
        return True
    found = kind.FromString(rest)
    source = source_of(found)
    assert ("content", b"") == (source.WhichOneof("source"), source.content)
    source.content = bytes(image)
    assert expected == found
    assert expected.SerializeToString(deterministic=True) == found.SerializeToString(
        deterministic=True
    )
    return True


@pytest.mark.parametrize("method", KINDS)
@settings(max_examples=200)
@given(data=st.data())
def test_odd_messages_mean_the_same(method: str, data: st.DataObject) -> None:
    """Fields that come twice, members of a oneof after each other, unknown ones, groups, numbers
    that are too long, messages that end too early and bytes that were changed.
    """
    content = data.draw(messages(KINDS[method][0].DESCRIPTOR))
    if data.draw(st.booleans()) and content:
        at = data.draw(st.integers(0, len(content) - 1))
        content = data.draw(
            st.sampled_from(
                [
                    content[:at],
                    content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :],
                ]
            )
        )
    cut_as_protobuf_decodes(method, content)


def request(method: str, content: bytes) -> Any:
    """Return a request with an image and all else that can be said beside it."""
    kind, source_of = KINDS[method]
    made = kind()
    source = source_of(made)
    source.content, source.fit = content, True
    if isinstance(made, v1.BulkAddImagesRequest):
        made.item.key = "k" * 200
        made.item.new_image.class_id2 = 7
    else:
        made.library = "shoes"
    if isinstance(made, v1.AddImageRequest):
        made.new_image.brief = "b" * 256
        made.new_image.region.width = 0.5
    return made


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_plain_messages_are_cut(method: str, size: int) -> None:
    """What clients make of a request, of every method that takes an image."""
    content = request(method, b"x" * size).SerializeToString()
    assert cut_as_protobuf_decodes(method, content)
    assert (size >= 128) is cut_as_protobuf_decodes(method, content, 128)


IMAGE = field(1, b"x" * 200)
NEW = field(2, field(1, IMAGE))
ODD = {
    "the image twice": field(2, field(1, IMAGE + field(1, b"y" * 200))),
    "the source twice": field(2, field(1, IMAGE) + field(1, field(1, b"y" * 200))),
    "a message merged": NEW + field(2, field(1, b"\x18\x01")),
    "an address after it": field(2, field(1, IMAGE + field(2, b"http://a/b"))),
    "an address before it": field(2, field(1, field(2, b"http://a/b") + IMAGE)),
    "a group around it": b"\x1b" + NEW + b"\x1c",
    "a group beside it": NEW + b"\x9b\x06\x9c\x06",
    "its end missing": NEW[:-1],
    "a part of a tag": NEW + b"\x80",
    "its length too long": field(2, field(1, field(1, b"x" * 200, padding=1))),
    "its tag too long": field(2, field(1, field(1, b"x" * 200, tag_padding=1))),
    "its number as one": field(2, field(1, b"\x08\x07" + IMAGE)),
    "a number of 11 bytes": NEW + b"\x20" + b"\xff" * 10 + b"\x01",
    "a field of the number 0": NEW + b"\x00\x00",
    "no image": field(1, b"x" * 200),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_not_plain_is_left_to_protobuf(what: str) -> None:
    """It is decoded whole, and only protobuf decides what it means, or that it means nothing."""
    assert cut_as_protobuf_decodes("AddImage", NEW)
    assert not cut_as_protobuf_decodes("AddImage", ODD[what])


def test_other_members_on_the_way_are_left_to_protobuf() -> None:
    """A signature beside the image, or settings beside the item: the last one counts."""
    image = field(2, IMAGE)
    assert cut_as_protobuf_decodes("DeleteImage", field(2, image))
    assert not cut_as_protobuf_decodes("DeleteImage", field(2, image + field(1, b"1,2")))
    item = field(2, NEW)
    assert cut_as_protobuf_decodes("BulkAddImages", item)
    assert not cut_as_protobuf_decodes("BulkAddImages", field(1, b"") + item)


def decoded(method: str, content: bytes) -> tuple[Any, memoryview | None]:
    """Return what the service makes of a message."""
    decode = KINDS[method][0].FromString
    return asyncio.run(interceptor.decoded(method, decode, Pace(), content, "one"))


@pytest.mark.parametrize("method", KINDS)
def test_only_images_of_large_messages_are_cut_out(method: str) -> None:
    """They are a part of what was received; others are decoded with their messages."""
    content = request(method, b"x" * LARGE).SerializeToString()
    made, image = decoded(method, content)
    assert image is not None
    assert (LARGE, True) == (len(image), image.obj is content)
    assert not KINDS[method][1](made).content
    small = request(method, b"x" * 1000)
    assert (small, None) == decoded(method, small.SerializeToString())


def test_a_large_message_that_is_not_plain_is_decoded_whole() -> None:
    """The last of two images counts, however large they are; nonsense is FIELD_INVALID."""
    twice = field(2, field(1, field(1, b"x" * LARGE) + field(1, b"y" * LARGE)))
    made, image = decoded("AddImage", twice)
    assert (b"y" * LARGE, None) == (made.new_image.image.content, image)
    with pytest.raises(FieldInvalid, match="not a message of this method"):
        decoded("AddImage", twice[:-1])
