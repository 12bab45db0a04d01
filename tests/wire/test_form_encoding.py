"""The fast encoder makes what the standard library makes, byte for byte."""

from __future__ import annotations

import base64
import random
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_service import limits
from productsearch_service.upstream import form


def _reference(content: bytes) -> bytes:
    return urlencode({"image": base64.b64encode(content)}).encode()


def _buffer_of(body: form.Pieces) -> object:
    return next(piece.obj for piece in body if isinstance(piece, memoryview))


def test_every_size_up_to_4096_is_byte_identical_to_urlencode() -> None:
    """Sizes 0 to 4,096: the same bytes as urlencode of the base64 text."""
    content = random.Random(1).randbytes(4096)
    for size in range(4097):
        assert _reference(content[:size]) == form.encode({"image": content[:size]})


@pytest.mark.parametrize(
    "size", [98_303, 98_304, 98_305, 393_216, 393_217, 491_521, 884_736, 884_737, 3_141_592]
)
def test_large_sizes_are_byte_identical_to_urlencode(size: int) -> None:
    """Sizes around what is encoded and joined at once, and large ones: the same bytes."""
    content = random.Random(size).randbytes(size)
    assert _reference(content) == form.encode({"image": content})


@pytest.mark.parametrize("size", [393_219, 3_145_728, 3_145_731])
def test_a_picture_of_nothing_but_escapes_is_encoded_whole(size: int) -> None:
    """Each character of its base64 becomes three: the longest form that a size can have."""
    content = b"\xfb\xef\xbe" * (size // 3)
    assert form.encode({"image": content}) == b"image=" + b"%2B" * (4 * size // 3)


def test_a_buffer_is_used_again_and_never_by_two_forms() -> None:
    """What was given back can no longer be read; what was kept, and what comes next, is right."""
    contents = [random.Random(number).randbytes(500_000 + 9 * number) for number in range(4)]
    kept = form.pieces({"image": contents[0]})
    buffers = set()
    for content in contents[1:] * 3:
        body = form.pieces({"image": content})
        assert b"".join(body) == _reference(content)
        buffers.add(_buffer_of(body))
        form.release(body)
        for again in (lambda body=body: b"".join(body), lambda body=body: form.release(body)):
            with pytest.raises((TypeError, ValueError)):
                again()
    assert b"".join(kept) == _reference(contents[0])
    assert len(buffers) == 1
    assert _buffer_of(kept) not in buffers


def test_a_buffer_with_more_memory_than_a_picture_needs_is_not_used_again() -> None:
    """A form above the upstream's limit, as ``fit`` makes to learn its length, leaves nothing."""
    too_long = form.pieces({"image": b"\xfb\xef\xbe" * 1_000_000})
    assert sum(map(len, too_long)) > limits.IMAGE_ENCODED_BYTES_MAX
    buffer = _buffer_of(too_long)
    form.release(too_long)
    assert _buffer_of(form.pieces({"image": b"a" * 500_000})) is not buffer


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_text_fields_are_byte_identical_to_urlencode(fields: dict[str, str]) -> None:
    """Any text, any number of fields, in order: the same bytes."""
    assert urlencode(fields).encode() == form.encode(fields)


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 1000))
def test_length_is_exact_up_to_the_bound(content: bytes, bound: int) -> None:
    """Whether a picture is within a bound is told exactly, without encoding the body."""
    exact = len(form.encode({"": content})) - len("=")
    told, escaped = form.measure(content, bound)
    assert (exact <= bound) == (told <= bound)
    assert told in (exact, 4 * ((len(content) + 2) // 3))
    assert escaped in (None, form.escape(content))


@pytest.mark.parametrize("size", [1, 500_000])
def test_a_picture_that_was_escaped_before_is_not_escaped_again(size: int) -> None:
    content = random.Random(size).randbytes(size)
    fields = {"brief": "a&b", "image": content, "rn": "5"}
    made_before = fields | {"image": form.escape(content)}
    assert form.pieces(made_before) == form.pieces(fields)
    assert b"".join(form.pieces(fields)) == form.encode(fields)
    assert form.encode(fields) == urlencode(fields | {"image": base64.b64encode(content)}).encode()
