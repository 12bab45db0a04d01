"""The fast encoder makes what the standard library makes, byte for byte."""

from __future__ import annotations

import base64
import random
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_service.upstream import form


def _reference(content: bytes) -> bytes:
    return urlencode({"image": base64.b64encode(content)}).encode()


def test_every_size_up_to_4096_is_byte_identical_to_urlencode() -> None:
    """Sizes 0 to 4,096: the same bytes as urlencode of the base64 text."""
    content = random.Random(1).randbytes(4096)
    for size in range(4097):
        assert _reference(content[:size]) == form.encode({"image": content[:size]})


@pytest.mark.parametrize("size", [24_575, 24_576, 24_577, 49_152, 1_000_001, 3_141_592])
def test_large_sizes_are_byte_identical_to_urlencode(size: int) -> None:
    """Sizes around the chunk and large ones: the same bytes."""
    content = random.Random(size).randbytes(size)
    assert _reference(content) == form.encode({"image": content})


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_text_fields_are_byte_identical_to_urlencode(fields: dict[str, str]) -> None:
    """Any text, any number of fields, in order: the same bytes."""
    assert urlencode(fields).encode() == form.encode(fields)


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 1000))
def test_length_is_exact_up_to_the_bound(content: bytes, bound: int) -> None:
    """Whether a picture is within a bound is told exactly, without encoding the body."""
    exact = len(form.encode({"": content})) - len("=")
    told = form.encoded_length(content, bound)
    assert (exact <= bound) == (told <= bound)
    assert told in (exact, 4 * ((len(content) + 2) // 3))
