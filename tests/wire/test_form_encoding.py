"""Forms are what the standard library makes, byte for byte: as encoded, and as they arrive."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productsearch_service import limits
from productsearch_service.call_context import CallContext, Caller, Deadline
from productsearch_service.counters import Counters
from productsearch_service.images import form_encoding
from productsearch_service.library.commands import Add, Image
from productsearch_service.library.library import Library
from productsearch_service.server.libraries import build_library
from productsearch_service.settings_library import LibrarySettings
from productsearch_service.upstream.exchange import _body
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedText
from tests.fakes.upstream import FakeUpstream
from tests.pictures import noise_jpeg

_BLOCK_BYTES = 98_304
"""So much is encoded at a time."""
_AT_ONCE = 32
SIZES = [
    *(_BLOCK_BYTES * blocks + more for blocks in (1, 2, 9) for more in (-1, 0, 1)),
    *random.Random(8).sample(range(4_097, 2_900_000), 8),
    2_900_000,
]


def _reference(content: bytes) -> bytes:
    return urlencode({"image": base64.b64encode(content), "brief": "a b&c"}).encode()


def _encoded(content: bytes) -> bytes:
    return b"".join(_body({"image": _form_value(content), "brief": "a b&c"}))


def _form_value(content: bytes) -> tuple[bytes, ...]:
    encoder = form_encoding.FormEncoder()
    try:
        return asyncio.run(encoder.form_value(content, fits=False))
    finally:
        encoder.close()


def test_every_size_up_to_4096_is_byte_identical_to_urlencode() -> None:
    """Sizes 0 to 4,096: the same bytes as urlencode of the base64 text."""
    content = random.Random(1).randbytes(4096)
    encoder = form_encoding.FormEncoder()

    async def values() -> list[tuple[bytes, ...]]:
        sizes = range(4097)
        return [await encoder.form_value(content[:size], fits=False) for size in sizes]

    try:
        for size, value in enumerate(asyncio.run(values())):
            body = b"".join(_body({"image": value, "brief": "a b&c"}))
            assert _reference(content[:size]) == body
    finally:
        encoder.close()


@pytest.mark.parametrize("size", SIZES)
def test_large_sizes_are_byte_identical_to_urlencode(size: int) -> None:
    """Sizes around what is encoded at a time, and large random ones: the same bytes."""
    content = random.Random(size).randbytes(size)
    assert _reference(content) == _encoded(content)


@pytest.mark.parametrize("size", [393_219, 3_145_728, 3_145_731])
def test_an_image_of_nothing_but_escapes_is_encoded_whole(size: int) -> None:
    """Each character of its base64 becomes three: the longest form value that a size can have."""
    content = b"\xfb\xef\xbe" * (size // 3)
    assert b"%2B" * (4 * size // 3) == form_encoding.encode(content)


@given(st.binary(max_size=300))
def test_the_least_length_is_that_of_the_base64_text(content: bytes) -> None:
    """``length_min`` is never above the form value's length, and equal where nothing is escaped."""
    assert len(base64.b64encode(content)) == form_encoding.length_min(content)
    assert form_encoding.length_min(content) <= len(form_encoding.encode(content))


TEXTS = ("url", "brief", "class_id1", "class_id2", "tag_logic", "pn", "rn", "cont_sign")


@given(
    st.dictionaries(st.sampled_from(TEXTS), st.text()),
    st.none() | st.lists(st.binary(max_size=90), max_size=4),
    st.integers(0, len(TEXTS)),
)
def test_forms_are_byte_identical_to_urlencode(
    texts: dict[str, str], blocks: list[bytes] | None, at: int
) -> None:
    """Any text in the fields of the contract, in any order, and an image in parts between them."""
    made: dict[str, str | tuple[bytes, ...]] = dict(texts)
    wanted: dict[str, str | bytes] = dict(texts)
    if blocks is not None:
        whole = [block[: len(block) // 3 * 3] for block in blocks]
        parts = tuple(map(form_encoding.encode, whole))
        made = _with_image(made, at, parts)
        wanted = _with_image(wanted, at, base64.b64encode(b"".join(whole)))
    assert urlencode(wanted).encode() == b"".join(_body(made))


def _with_image(fields: dict[str, Any], at: int, value: Any) -> dict[str, Any]:
    pairs = [*fields.items()]
    return dict([*pairs[:at], ("image", value), *pairs[at:]])


def test_a_large_form_value_is_not_copied() -> None:
    """The parts of a form hold those of the image's form value themselves."""
    value = _form_value(noise_jpeg(1_000_000))
    body = _body({"image": value, "brief": "b", "class_id1": "1"})
    assert len(value) > 1
    assert [True] * len(value) == [any(part is each for part in body) for each in value]


async def _add_all(library: Library, contents: Iterator[bytes]) -> None:
    """Add each content, some of them at the same time."""
    encoder = form_encoding.FormEncoder()

    async def caller() -> None:
        for content in contents:
            value = await encoder.form_value(content, fits=False)
            command = Add(Image(form_value=value), "a b&c")
            await library.add(command, CallContext(Caller("test"), Deadline.after(60)))

    try:
        await asyncio.gather(*(caller() for _ in range(_AT_ONCE)))
    finally:
        encoder.close()
        await library.close()


def _sent(upstream: FakeUpstream, contents: list[bytes]) -> list[bytes]:
    """Return the bodies that the upstream received for these contents, sorted."""

    async def run() -> None:
        settings = LibrarySettings.model_validate(
            {"base_url": upstream.url, "api_key": "k", "secret_key": "s", "quota_qps": 0}
        )
        library = build_library(settings, 1, Counters().library("default"))
        await _add_all(library, iter(contents))

    asyncio.run(run())
    return sorted(call.body for call in upstream.calls)


def test_sizes_up_to_4096_arrive_as_urlencode_makes_them(upstream: FakeUpstream) -> None:
    """Sizes 0 to 4,096, over HTTP: the upstream received what urlencode makes, each once.

    Each 16th and the first 64: that each size is encoded right is shown above.
    """
    content = random.Random(2).randbytes(4096)
    contents = [content[:size] for size in (*range(64), *range(64, 4097, 16))]
    assert sorted(map(_reference, contents)) == _sent(upstream, contents)


def test_large_sizes_arrive_as_urlencode_makes_them(upstream: FakeUpstream) -> None:
    """Bodies that leave in pieces, over HTTP: the upstream received what urlencode makes."""
    contents = [random.Random(size).randbytes(size) for size in SIZES]
    assert sorted(map(_reference, contents)) == _sent(upstream, contents)
    lengths = {call.headers["Content-Length"] for call in upstream.calls}
    assert {str(len(_reference(content))) for content in contents} == lengths
    assert not any("Transfer-Encoding" in call.headers for call in upstream.calls)


@pytest.mark.asyncio
async def test_bodies_in_any_parts_arrive_whole(upstream: FakeUpstream) -> None:
    """Around the size that leaves in one piece and far above it, in parts of any length, empty
    ones too: what was given arrives.
    """
    chance = random.Random(3)
    transport = Transport(upstream.url)
    sent = []
    for length in (limits.SENT_WHOLE_BYTES * n + more for n in (1, 2, 9) for more in (-1, 0, 1)):
        body = chance.randbytes(length)
        for cuts in ((), (length // 2,), (0, 0, 1, 64_000, length - 1)):
            parts = [body[a:b] for a, b in pairwise((0, *cuts, length))]
            await transport.post("/add", MaskedText(), parts, Deadline.after(60))
            sent.append(body)
    await transport.close()
    assert sent == [call.body for call in upstream.calls]
