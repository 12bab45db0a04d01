"""Images are made ready a part at a time, one large one after the other, for who still waits."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from types import SimpleNamespace
from urllib.parse import quote_plus

import pytest

from productsearch_service.images import form_encoding
from productsearch_service.images.form_encoding import FormEncoder
from productsearch_service.images.inspect import SizeInvalid
from tests.pictures import jpeg, noise_jpeg

SMALL = jpeg(1)
LARGE = [noise_jpeg(2_000_000, seed) for seed in range(5)]


@pytest.fixture
def encoder() -> Iterator[FormEncoder]:
    """Return an encoder."""
    made = FormEncoder()
    yield made
    made.close()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that is told, for each block that is encoded, which large image it is of."""
    blocks: list[int] = []
    escaped = form_encoding._escaped

    def noted(block: bytes | memoryview) -> bytes:
        whole = block.obj if isinstance(block, memoryview) else block
        blocks.extend(number for number, image in enumerate(LARGE) if image is whole)
        return escaped(block)

    monkeypatch.setattr(form_encoding, "_escaped", noted)
    return blocks


def _value(image: bytes) -> bytes:
    return quote_plus(base64.b64encode(image)).encode()


@pytest.mark.asyncio
async def test_the_event_loop_serves_others_between_blocks(
    encoder: FormEncoder, encoded: list[int]
) -> None:
    """While a large image is encoded, other tasks have a turn after each block, and small images
    are ready before it is.
    """
    large = asyncio.create_task(encoder.form_value(LARGE[0], fits=False))
    turns: list[int] = []
    while not large.done():
        await asyncio.sleep(0)
        turns.append(len(encoded))
        assert len(encoded) < 3 or (form_encoding.encode(SMALL),) == (
            await encoder.form_value(SMALL, fits=False)
        )
    assert len(encoded) >= len(LARGE[0]) // 200_000
    assert {*range(1, len(encoded) + 1)} <= {*turns}
    assert _value(LARGE[0]) == b"".join(await large)


@pytest.mark.asyncio
@pytest.mark.parametrize(("turn_s", "turns"), [(0.0, 4), (0.4, 3), (1.0, 1)])
async def test_others_have_four_turns_unless_they_take_as_long_as_a_block(
    turn_s: float, turns: int, encoder: FormEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small call needs a dozen turns of the event loop, and waits for no block in most of them.
    Where turns are long, large images do not wait for one another.
    """
    now_s, blocks, others = 0.0, 0, 0
    escaped = form_encoding._escaped

    def in_a_second(block: bytes | memoryview) -> bytes:
        nonlocal now_s, blocks
        now_s, blocks = now_s + 1, blocks + 1
        return escaped(block)

    monkeypatch.setattr(form_encoding, "_escaped", in_a_second)
    monkeypatch.setattr(form_encoding, "time", SimpleNamespace(monotonic=lambda: now_s))
    large = asyncio.create_task(encoder.form_value(LARGE[0], fits=False))
    while not large.done():
        await asyncio.sleep(0)
        now_s, others = now_s + turn_s, others + 1
    assert turns * blocks <= others <= turns * blocks + 3


@pytest.mark.asyncio
async def test_one_large_image_at_a_time(encoder: FormEncoder, encoded: list[int]) -> None:
    """Of five at once each is begun when the one before it is done, in the order in which they
    came: two halves at a time would be no sooner done and would hold more memory.
    """
    values = await asyncio.gather(*(encoder.form_value(image, fits=False) for image in LARGE))
    assert sorted(encoded) == encoded
    assert {*range(5)} == {*encoded}
    for image, value in zip(LARGE, values, strict=True):
        assert _value(image) == b"".join(value)


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", range(8))
async def test_an_image_whose_caller_has_left_is_not_worked_on(
    turns: int, encoder: FormEncoder, encoded: list[int]
) -> None:
    """Cancelled before its turn or in the middle of it, its place goes to the next one."""
    tasks = [asyncio.create_task(encoder.form_value(image, fits=False)) for image in LARGE]
    for _ in range(turns):
        await asyncio.sleep(0)
    before = len(encoded)
    for task in tasks[:4]:
        task.cancel()
    assert _value(LARGE[4]) == b"".join(await tasks[4])
    assert {4} == {*encoded[before:]}
    assert [True] * 4 == [task.cancelled() for task in tasks[:4]]


@pytest.mark.asyncio
async def test_a_form_value_that_is_too_long_is_refused_and_gives_its_place_back(
    encoder: FormEncoder,
) -> None:
    """Only the encoded bytes tell the exact length; the next image is encoded as ever."""
    too_long = SMALL + bytes(-len(SMALL) % 3) + b"\xfb\xef\xbe" * 1_000_000
    for _ in range(2):
        with pytest.raises(SizeInvalid):
            await encoder.form_value(too_long, fits=False)
    assert _value(LARGE[0]) == b"".join(await encoder.form_value(LARGE[0], fits=False))
