"""The classic embedding: valid for any image, steady, and ranking the same product first."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from productsearch_engine.embedding import colour
from productsearch_engine.embedding.classic import Classic
from productsearch_engine.embedding.interface import Embedding, Pixels, Vector
from tests.embedding.drawn import PRODUCTS, scene
from tests.embedding.ranking import leave_one_out

PINNED = [0.2023, -0.6305, -0.3667, 0.1323, -0.0966, 0.4076, -1.9951, -0.2258]
Products = NDArray[np.int_]
VIEWS = 4
"""Of each drawn product."""

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"


@pytest.fixture(scope="module")
def classic() -> Embedding:
    return Classic()


def pattern(height: int, width: int) -> Pixels:
    """Return an image made of integer arithmetic alone, the same on every machine."""
    y, x = np.mgrid[:height, :width]
    planes = [x * x // 97 + y, (x // 23 + y // 31) % 5 * 60, x * y // 61]
    return (np.stack(planes, -1) % 256).astype(np.uint8)


@pytest.mark.parametrize("size", [(300, 300), (480, 640), (4096, 300), (300, 4096), (5, 1)])
def test_any_size_gives_a_unit_vector(classic: Embedding, size: tuple[int, int]) -> None:
    """An image of any size and shape has a vector of length 1 and the declared dimensions."""
    vector = classic.embed([pattern(*size)])[0]
    assert (classic.dimensions,) == vector.shape
    assert np.float32 == vector.dtype
    assert pytest.approx(1, abs=1e-5) == float(np.linalg.norm(vector))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_image_gives_a_unit_vector(classic: Embedding, level: int) -> None:
    """An image without any structure is no division by zero."""
    vector = classic.embed([np.full((320, 300, 3), level, np.uint8)])[0]
    assert pytest.approx(1, abs=1e-5) == float(np.linalg.norm(vector))


def test_shares_of_colours_are_no_subnormal_numbers() -> None:
    """No number of the table of shares is so small that a processor takes ten times as long for it.

    Also not its product with the share of a colour in an image, which is rarely below 1e-13.
    """
    shares = colour.assignment()
    assert float(shares[shares > 0].min()) * 1e-13 > np.finfo(np.float32).tiny
    assert shares.sum(1) == pytest.approx(np.ones(len(shares)), abs=1e-5)


def test_the_image_is_left_alone(classic: Embedding) -> None:
    """Embedding reads an image that may not be written to, and changes nothing in it."""
    pixels = pattern(300, 400)
    pixels.setflags(write=False)
    before = pixels.tobytes()
    classic.embed([pixels])
    assert before == pixels.tobytes()


def test_threads_agree_to_the_last_bit(classic: Embedding) -> None:
    """Many threads embedding different images at once get what one thread gets."""
    # Different shapes, so that arrays lie elsewhere in memory in each call.
    images = [scene(product, 0)[: 400 - 17 * product] for product in range(6)]
    expected = [vector.tobytes() for vector in classic.embed(images)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda i: classic.embed([images[i % 6]]).tobytes(), range(24)))
    assert [expected[i % 6] for i in range(24)] == found


@pytest.mark.parametrize("blas_threads", ["1", "4"])
def test_processes_agree_to_the_last_bit(classic: Embedding, blas_threads: str) -> None:
    """Another process gets the same bits, however many threads its BLAS has."""
    program = (
        "import hashlib, sys, numpy as np\n"
        "from productsearch_engine.embedding.classic import Classic\n"
        "pixels = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(400, 400, 3)\n"
        "print(hashlib.sha256(Classic().embed([pixels]).tobytes()).hexdigest())\n"
    )
    pixels = scene(1, 1)
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pixels.tobytes(),
        env={**os.environ, "OPENBLAS_NUM_THREADS": blas_threads},
        capture_output=True,
        check=True,
    )
    expected = hashlib.sha256(classic.embed([pixels]).tobytes()).hexdigest()
    assert expected == done.stdout.decode().strip()


def test_the_name_stands_for_these_numbers(classic: Embedding) -> None:
    """``classic-1`` gives these numbers; whoever changes them gives the embedding a new name.

    A library keeps vectors for years: new numbers under an old name would compare
    apples with pears. Eight cosine sums over the vector stand for all of it.
    """
    vector = classic.embed([pattern(400, 300)])[0]
    places = np.arange(classic.dimensions)
    fingerprint = [float(vector @ np.cos(places * k)) for k in range(1, 9)]
    expected = ("classic-1", 807)
    assert expected == (classic.name, classic.dimensions)
    assert pytest.approx(PINNED, abs=2e-3) == fingerprint


def recompressed(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70)
    return np.asarray(Image.open(file))


def halved(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).reduce(2))


def cropped(pixels: Pixels) -> Pixels:
    y, x = pixels.shape[0] // 20, pixels.shape[1] // 20
    return pixels[y:-y, x:-x]


def mirrored(pixels: Pixels) -> Pixels:
    return pixels[:, ::-1]


def brightened(pixels: Pixels) -> Pixels:
    return np.asarray(np.clip(pixels * 1.15, 0, 255), np.uint8)


CHANGES = [
    (recompressed, 0.95),
    (halved, 0.95),
    (cropped, 0.9),
    (mirrored, 0.98),
    (brightened, 0.75),
]


@pytest.fixture(scope="module")
def drawings(classic: Embedding) -> tuple[Vector, Products]:
    """Vectors of the views of each drawn product, product by product, and the products."""
    views = [(product, view) for product in range(len(PRODUCTS)) for view in range(VIEWS)]
    vectors = classic.embed([scene(*which) for which in views])
    return vectors, np.array([product for product, _ in views])


@pytest.mark.parametrize(("change", "floor"), CHANGES)
def test_an_edited_drawing_stays_itself(
    classic: Embedding,
    drawings: tuple[Vector, Products],
    change: Callable[[Pixels], Pixels],
    floor: float,
) -> None:
    """Recompressing, scaling, cropping, mirroring and lighting hardly move an image."""
    for product in range(0, len(PRODUCTS), 3):
        (after,) = classic.embed([change(scene(product, 0))])
        assert floor <= float(drawings[0][product * VIEWS] @ after)


def test_drawn_products_find_themselves(drawings: tuple[Vector, Products]) -> None:
    """24 products on cluttered grounds, every two alike in colour: measured 0.885 and 0.842."""
    first, precision = leave_one_out(*drawings)
    assert first >= 0.84
    assert precision >= 0.80


def test_print_tells_products_of_equal_colours_apart(
    drawings: tuple[Vector, Products],
) -> None:
    """Stripes or dots in the same two colours: measured 0.948, a guess would be 0.43."""
    vectors, products = drawings
    right = []
    for pair in range(0, len(PRODUCTS), 2):
        rows = np.flatnonzero(products // 2 == pair // 2)
        first, _ = leave_one_out(vectors[rows], products[rows])
        right.append(first)
    assert float(np.mean(right)) >= 0.9


def test_similarity_spreads(drawings: tuple[Vector, Products]) -> None:
    """Unrelated images score well below the same product: a score means something."""
    vectors, products = drawings
    scores = vectors @ vectors.T
    same = products[:, None] == products
    other = products[:, None] // 2 != products // 2
    np.fill_diagonal(same, val=False)
    assert float(np.median(scores[same])) >= 0.75
    assert float(np.median(scores[other])) <= 0.6


@pytest.fixture(scope="module")
def photos(classic: Embedding) -> tuple[Vector, Products, NDArray[np.bool_]]:
    """Vectors of the real photographs, their products, and which are catalogue images."""
    if not (PHOTOS / "photos.csv").is_file():
        pytest.skip("no real photographs: ../shared/photos is absent")
    with (PHOTOS / "photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    vectors = classic.embed(
        [np.asarray(Image.open(PHOTOS / row["file"]).convert("RGB")) for row in rows]
    )
    products = np.array([int(row["product_id"]) for row in rows])
    return vectors, products, np.array([row["kind"] == "catalogue" for row in rows])


@pytest.mark.slow
def test_photographs_find_their_product(photos: tuple[Vector, Products, NDArray[np.bool_]]) -> None:
    """192 shop photographs, each searched among the others: measured 0.979 and 0.821."""
    vectors, products, catalogue = photos
    first, precision = leave_one_out(vectors[~catalogue], products[~catalogue])
    assert first >= 0.96
    assert precision >= 0.805


@pytest.mark.slow
def test_catalogue_images_find_photographs(
    photos: tuple[Vector, Products, NDArray[np.bool_]],
) -> None:
    """24 images on white, searched among shop photographs: measured 0.92 within five hits."""
    vectors, products, catalogue = photos
    scores = vectors[catalogue] @ vectors[~catalogue].T
    five = products[~catalogue][np.argsort(-scores, axis=1)[:, :5]]
    found = (five == products[catalogue][:, None]).any(1)
    assert float(np.mean(found)) >= 0.8
