"""The second look of a search: what it compares, when it is taken, and that pages stay whole."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from psycopg_pool import ConnectionPool

from productsearch_engine.api import second_look
from productsearch_engine.embedding.glance import brightness, encoded
from productsearch_engine.embedding.interface import Box
from productsearch_engine.embedding.load import load
from productsearch_engine.embedding.local_features import AGREEING_MIN, Corners
from productsearch_engine.images.glance_chunk import glance_or_copy
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.images.small_copy import kept_image, read_copy
from productsearch_engine.limits import SECOND_LOOK_MAX
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.workers.describe import Described, describe
from productsearch_engine.workers.second_look import agreeing
from tests.engine.calling import Caller, code_of

SIDE = 400
STORED = 6
scores = st.lists(st.floats(0, 1), max_size=80).map(lambda found: sorted(found, reverse=True))


def scene(seed: int, number: int = 60) -> Image.Image:
    """Return an image of many shapes: corners enough, and the same colours for every seed."""
    drawn = np.random.default_rng(seed)
    sheet = np.full((SIDE, SIDE, 3), 200, np.uint8)
    palette = np.random.default_rng(0).integers(0, 256, (5, 3))
    for _ in range(number):
        x, y = drawn.integers(0, SIDE, 2)
        width, height = drawn.integers(15, 80, 2)
        sheet[y : y + height, x : x + width] = palette[drawn.integers(5)]
    return Image.fromarray(sheet)


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def turned(seed: int) -> bytes:
    """Return the middle of a scene, turned a little."""
    return jpeg(scene(seed).rotate(8).crop((40, 40, 360, 360)), 60)


def glance(file: bytes) -> bytes:
    """Return the glance that a worker makes of an image that is searched with."""
    pixels = ImageFile.checked(file).pixels()
    return encoded(pixels)


@pytest.mark.parametrize("has_glance", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_the_same_things_agree(seed: int, has_glance: bool) -> None:
    """A turned and cut image shares many corners with itself, next to none with others, and none
    with what is neither a glance nor a small copy. Copies of engines before have no glance."""
    copies = [kept_image(np.asarray(scene(other))) for other in (seed, 100 + seed)]
    stored = [glance_or_copy(copy) if has_glance else plain(copy) for copy in copies]
    broken = [b"", stored[0][:40], jpeg(scene(seed)), b"\xff\xd8\xff\xd9", b"RIFF1234WEBP"]
    counts = np.frombuffer(agreeing(glance(turned(seed)), [*stored, *broken]), "<u2")
    same, other, *none = counts.tolist()
    assert same >= 2 * AGREEING_MIN
    assert other < same / 2
    assert [0] * len(broken) == none


def plain(copy: bytes) -> bytes:
    """Return a small copy as engines before made it: the image alone."""
    image = io.BytesIO()
    Image.open(io.BytesIO(copy)).save(image, "WEBP", quality=80)
    return image.getvalue()


def test_a_glance_travels_in_the_copy() -> None:
    """The copy is a WebP of the same pixels for every decoder, its glance is small, and what has
    none is left as it is."""
    pixels = np.asarray(scene(3))
    copy, alone = kept_image(pixels), plain(kept_image(pixels))
    found = glance_or_copy(copy)
    at = copy.index(found)
    image = copy[:4] + (at - 16).to_bytes(4, "little") + copy[8 : at - 8]
    assert read_copy(copy).tolist() == read_copy(image).tolist()
    assert pixels.shape == np.asarray(cv2.imdecode(np.frombuffer(copy, np.uint8), 1)).shape
    assert len(copy) == 8 + int.from_bytes(copy[4:8], "little")
    assert found.startswith(b"\xff\xd8\xff")
    assert len(found) <= 8000
    for other in (alone, b"", b"RIFF", copy[:20], jpeg(scene(3))):
        assert other == glance_or_copy(other)


@pytest.mark.parametrize(
    ("region", "shape"), [(None, (192, 192)), (Box(0.5, 0, 0.5, 1), (192, 96))]
)
def test_what_is_searched_with_is_looked_at_once(
    region: Box | None, shape: tuple[int, int]
) -> None:
    """A description has the glance of the image, or of the region that is searched with, and it
    passes from the worker process; without being wanted it has none."""
    described = describe(jpeg(scene(2)), load("classic"), glance=True, region=region)
    assert described.glance == Described.of_parts(described.parts()).glance
    assert described.glance is not None
    assert shape == cv2.imdecode(np.frombuffer(described.glance, np.uint8), 0).shape
    assert describe(jpeg(scene(2)), load("classic")).glance is None


@given(st.binary(max_size=60))
def test_any_bytes_may_have_been_imported(rest: bytes) -> None:
    """Whatever a copy is, a glance or the copy itself comes out, and comparing it does not fail."""
    copy = b"RIFF\0\0\0\0WEBP" + rest
    found = glance_or_copy(copy)
    assert found in copy
    assert [0, 0] == np.frombuffer(agreeing(found, [found, copy]), "<u2").tolist()


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 2), (30, 30), (5, 4096)])
def test_images_without_corners(shape: tuple[int, int]) -> None:
    """A plain image, however small, agrees with nothing, and does not fail."""
    none = Corners(brightness(np.full((*shape, 3), 90, np.uint8)))
    busy = Corners(brightness(np.asarray(scene(1))))
    assert (0, 0) == (none.agreeing(busy), busy.agreeing(none))


@given(scores)
def test_doubt_is_among_the_first(found: list[float]) -> None:
    """Only hits that are close to the first are looked at, never one alone, at most 50."""
    doubted = second_look.in_doubt(found, same=False)
    assert 0 == second_look.in_doubt(found, same=True)
    assert doubted != 1
    assert doubted <= min(len(found), SECOND_LOOK_MAX)
    assert all(found[0] - score < 0.1 for score in found[:doubted])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 65535)), max_size=60))
def test_scores_are_only_raised(hits: list[tuple[float, int]]) -> None:
    """No score falls, none leaves 0 to 1, none becomes that of the very same image."""
    before = [score for score, _ in hits]
    after = second_look.raised(before, [count for _, count in hits])
    for old, new in zip(before, after, strict=True):
        assert old <= new <= max(old, 0.99)


@pytest.mark.parametrize("value", ["", "2", "true", "-1", "01", "1,1"])
def test_other_values_are_refused(shared_caller: Caller, value: str) -> None:
    """``rerank`` is 0 or 1."""
    answer = shared_caller.call("search", image=jpeg(scene(1)), rerank=value)
    assert 216100 == code_of(answer)


@pytest.fixture
def alike(compact_caller: Caller) -> Caller:
    """A caller of a library of images that have the same colours."""
    for seed in range(STORED):
        answer = compact_caller.call("add", image=jpeg(scene(seed)), brief=str(seed))
        assert 0 == code_of(answer)
    return compact_caller


def test_leaders_in_doubt_are_looked_at_again(alike: Caller) -> None:
    """The right one among images of the same colours gets a higher score, the others keep theirs or
    rise; the same images are found, sorted, and pages of one are the whole list."""
    raised = 0
    for seed in range(STORED):
        asked: dict[str, Any] = {"image": turned(seed)}
        once = {hit["brief"]: hit["score"] for hit in alike.call("search", **asked)["result"]}
        again = alike.call("search", **asked, rerank="1")["result"]
        assert once.keys() == {hit["brief"] for hit in again}
        assert all(hit["score"] >= once[hit["brief"]] for hit in again)
        found = [hit["score"] for hit in again]
        assert found == sorted(found, reverse=True)
        raised += again[0]["brief"] == str(seed) and found[0] > once[str(seed)]
    assert raised >= 2
    pages = [
        alike.call("search", **asked, rerank="1", pn=str(rank), rn="2")
        for rank in range(0, STORED, 2)
    ]
    assert again == [hit for page in pages for hit in page["result"]]
    assert [True, True, False] == [page["has_more"] for page in pages]


def test_it_is_off_unless_it_is_asked_for(alike: Caller) -> None:
    """Without the field, and with 0, a search is what it was; the very image is 1 and first."""
    for seed in range(2):
        plain = alike.call("search", image=turned(seed))["result"]
        assert plain == alike.call("search", image=turned(seed), rerank="0")["result"]
        same = alike.call("search", image=jpeg(scene(seed)), rerank="1")["result"][0]
        assert (str(seed), 1.0) == (same["brief"], same["score"])


def test_without_copies_there_is_nothing_to_look_at(
    alike: Caller, pool: ConnectionPool[Any]
) -> None:
    """Images whose copies are gone are ranked as before."""
    library = next(each for each in Libraries(pool).list() if each.api_key == alike.api_key)
    before = alike.call("search", image=turned(3))["result"]
    with pool.connection() as connection:
        connection.execute(f"delete from kept_{library.id}".encode())
    assert before == alike.call("search", image=turned(3), rerank="1")["result"]
