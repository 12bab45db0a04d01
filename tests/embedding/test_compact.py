"""The embedding of new libraries: valid for any image, steady, and knowing a product again."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from productsearch_engine.embedding import hsv, prefix_axes, subject
from productsearch_engine.embedding.calibration import calibrated
from productsearch_engine.embedding.compact import MIXES, Compact
from productsearch_engine.embedding.interface import Box, Embedding, Pixels
from productsearch_engine.embedding.load import DEFAULT, load
from productsearch_engine.workers.describe import Described, describe
from tests.embedding.drawn import package, scene
from tests.embedding.test_classic import (
    brightened,
    cropped,
    halved,
    mirrored,
    pattern,
    recompressed,
)

PINNED = {
    "compact-1": [1.1404, 0.7413, 0.4732, 0.6582, 0.5304, -0.4676, -0.0091, -0.1011],
    "compact-2": [1.1345, 0.7578, 0.436, 0.6205, 0.5042, -0.5052, 0.0834, -0.1387],
    "compact-3": [1.1218, 0.8565, 0.4305, 0.6281, 0.3283, -0.7404, 0.024, -0.1215],
}


@pytest.fixture(scope="module")
def compact() -> Embedding:
    return load("compact")


def test_it_is_the_default(compact: Embedding) -> None:
    """A new library gets ``compact-3``, once loaded in a process."""
    assert ("compact-3", 512) == (compact.name, compact.dimensions)
    assert load(DEFAULT) is compact


@pytest.mark.parametrize("size", [(300, 300), (4096, 300), (300, 4096), (5, 1)])
def test_any_size_gives_a_unit_vector(compact: Embedding, size: tuple[int, int]) -> None:
    """An image of any size and shape has a vector of length 1 and a box inside the image."""
    vector, subject, _ = compact.describe([pattern(*size)])[0]
    assert (compact.dimensions,) == vector.shape
    assert np.float32 == vector.dtype
    assert pytest.approx(1, abs=1e-5) == float(np.linalg.norm(vector))
    assert subject is not None
    assert_inside(subject)


def assert_inside(box: Box) -> None:
    """The box has an area and does not leave the image."""
    assert min(box) >= 0
    assert min(box.width, box.height) > 0
    assert max(box.left + box.width, box.top + box.height) <= 1 + 1e-9


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_image_gives_a_unit_vector(compact: Embedding, level: int) -> None:
    """An image without any structure is no division by zero."""
    vector, subject, _ = compact.describe([np.full((320, 300, 3), level, np.uint8)])[0]
    assert pytest.approx(1, abs=1e-5) == float(np.linalg.norm(vector))
    assert subject is not None
    assert_inside(subject)


def test_no_image_gives_no_vector(compact: Embedding) -> None:
    """An empty batch is an empty answer of the right shape."""
    assert (0, 512) == compact.embed([]).shape


def test_the_image_is_left_alone(compact: Embedding) -> None:
    """Embedding reads an image that may not be written to, and changes nothing in it."""
    pixels = pattern(300, 400)
    pixels.setflags(write=False)
    before = pixels.tobytes()
    compact.embed([pixels])
    assert before == pixels.tobytes()


def test_batches_agree(compact: Embedding) -> None:
    """An image has the same vector alone and among 15 others, of other sizes too."""
    images = [scene(product, 0)[: 400 - 17 * (product % 6)] for product in range(16)]
    together = compact.embed(images)
    alone = np.stack([compact.embed([image])[0] for image in images])
    assert ((together * alone).sum(1) >= 0.9999).all()


@pytest.mark.parametrize("name", PINNED)
def test_the_name_stands_for_these_numbers(name: str) -> None:
    """A version gives these numbers; whoever changes them gives the embedding a new name.

    Eight cosine sums over the vector stand for all of it.
    """
    vector = load(name).embed([pattern(400, 300)])[0]
    places = np.arange(len(vector))
    fingerprint = [float(vector @ np.cos(places * k)) for k in range(1, 9)]
    assert pytest.approx(PINNED[name], abs=2e-3) == fingerprint


CHANGES = [
    (recompressed, 0.85),
    (halved, 0.85),
    (cropped, 0.75),
    (mirrored, 0.85),
    (brightened, 0.75),
]


@pytest.mark.parametrize(("change", "floor"), CHANGES)
def test_an_edited_drawing_stays_itself(
    compact: Embedding, change: Callable[[Pixels], Pixels], floor: float
) -> None:
    """Recompressing, scaling, cropping, mirroring and lighting hardly move an image."""
    images = [scene(product, 0) for product in range(0, 24, 6)]
    before, after = compact.embed(images), compact.embed([change(image) for image in images])
    assert float((before * after).sum(1).min()) >= floor


def on_ground(left: int, top: int, light: int = 215) -> tuple[Pixels, Box]:
    """Return a red package with stripes on a plain ground, and where it is."""
    ground = Image.new("RGB", (480, 400), (light, light, light - 10))
    front = package((190, 40, 45), (235, 235, 225), "stripes")
    ground.paste(front, (left, top))
    box = Box(left / 480, top / 400, front.width / 480, front.height / 400)
    return np.asarray(ground), box


@pytest.mark.parametrize("place", [(10, 20), (170, 90), (330, 170)])
def test_the_subject_is_where_the_product_is(compact: Embedding, place: tuple[int, int]) -> None:
    """The box covers the middle of the product, and more of it than the whole image would."""
    image, true = on_ground(*place)
    found = compact.subject(image)
    assert found is not None
    assert_inside(found)
    middle = (true.left + true.width / 2, true.top + true.height / 2)
    assert found.left <= middle[0] <= found.left + found.width
    assert found.top <= middle[1] <= found.top + found.height
    assert overlap(found, true) > true.width * true.height


@pytest.mark.parametrize("place", [(10, 20), (170, 90), (330, 170)])
def test_one_product_stands_out(compact: Embedding, place: tuple[int, int]) -> None:
    """One product on a plain ground is clear, and so is a part that the caller names."""
    image, true = on_ground(*place)
    assert compact.describe([image])[0].is_clear is True
    assert compact.describe([np.tile(image, (2, 2, 1))], [true])[0].is_clear


def test_a_description_crosses_to_another_process(compact: Embedding) -> None:
    """Whatever is found in an image, a worker process can send it."""
    for pixels in (
        on_ground(170, 90)[0],
        np.tile(on_ground(10, 20)[0], (2, 2, 1)),
        pattern(300, 300),
    ):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        described = describe(file.getvalue(), compact)
        assert described == Described.of_parts(described.parts())


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_a_heap_does_not_stand_out(compact: Embedding, columns: int) -> None:
    """Products all over the image, or in two corners of it, are no single product."""
    image, _ = on_ground(170, 90)
    heap = np.tile(image[80:320, 150:330], (columns, columns, 1))
    corners = Image.new("RGB", (800, 800), (215, 215, 205))
    front = Image.fromarray(image[90:310, 170:310])
    for corner in ((60, 60), (580, 520)):
        corners.paste(front, corner)
    assert compact.describe([heap])[0].is_clear is False
    assert compact.describe([np.asarray(corners)])[0].is_clear is False


def test_another_ground_changes_the_colours_less() -> None:
    """Places that look like the border count less than in ``compact-1``, whose cosines of the
    colours on three grounds are 0.29 to 0.41."""
    images = [on_ground(170, 90, light)[0] for light in (60, 140, 215)]
    for name, low, high in (("compact-1", 0.2, 0.42), ("compact-2", 0.4, 0.6)):
        embedding = load(name)
        colours = embedding.embed(images)[:, -hsv.DIMENSIONS :]
        colours /= np.linalg.norm(colours, axis=1, keepdims=True)
        cosines = (colours @ colours.T)[np.triu_indices(3, 1)]
        assert low < cosines.min()
        assert cosines.max() < high


def test_what_differs_from_the_border_stands_out() -> None:
    """A strange place is 1, half of an uneven border 0, and an image that is everywhere alike
    nowhere above."""
    maps = np.random.RandomState(3).uniform(0, 1, (2, 4, 9, 9)).astype(np.float32)
    maps[:, :, 3:6, 3:6] = 4
    clear = subject.standing_out(subject.strangeness(maps))
    assert (clear[3:6, 3:6] > 0.9).all()
    inside = clear[1:-1, 1:-1]
    assert 16 <= (clear == 0).sum() - (inside == 0).sum()
    assert not subject.standing_out(subject.strangeness(np.ones_like(maps))).any()


@pytest.mark.parametrize("name", MIXES)
def test_a_version_is_complete(name: str) -> None:
    """Each has a name to load it by, axes for the prefix, and a calibration."""
    axes = prefix_axes.of(name)
    assert axes is not None
    assert (name, (160, 512)) == (load(name).name, axes.rows.shape)
    assert calibrated(name, np.array([1.0]))[0] < 1 == calibrated("unknown", np.array([1.0]))[0]


def overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share, as a part of the area that they cover together."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (one.width * one.height + other.width * other.height - shared)


def test_a_region_is_the_product(compact: Embedding) -> None:
    """An image with a region has the vector of that part, and the region as its subject."""
    image, box = on_ground(330, 170)
    described = compact.describe([image, image], [box, None])
    alone = compact.embed([image[170:390, 330:470]])[0]
    assert float(described[0].vector @ alone) >= 0.999
    assert box == described[0].subject
    assert float(described[1].vector @ alone) < 0.99


def test_scores_rise_with_the_cosine(compact: Embedding) -> None:
    """A score is 0 to 1, of the shape of the cosines, and never falls when a cosine rises."""
    cosines = np.linspace(-1, 1, 401).reshape(1, -1)
    scores = compact.calibrate(cosines)
    assert cosines.shape == scores.shape
    assert (np.diff(scores) >= 0).all()
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores.max() - scores.min() > 0.5


def test_another_process_would_load_it_by_name() -> None:
    """Nothing but the name is needed: two objects give the same vector."""
    image = scene(3, 1)
    one, other = Compact(DEFAULT), Compact(DEFAULT)
    assert (one.embed([image]) == other.embed([image])).all()
