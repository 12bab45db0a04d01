"""What ``compact-3`` has more than ``compact-2``: soft cells, and uneven grounds told apart."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from productsearch_engine.embedding import ground, hsv, subject
from productsearch_engine.embedding.hsv import SIDE, Colours, Hsv
from productsearch_engine.embedding.load import load
from productsearch_engine.embedding.window import window
from tests.embedding.test_compact import on_ground
from tests.evaluation import drawings

RED, GREEN, BLUE, GREY = (0, 255, 255), (85, 255, 255), (170, 255, 255), (0, 0, 128)
"""Hue, saturation and value, 0 to 255."""

VERSIONS = ("compact-2", "compact-3")

Parts = dict[str, list[NDArray[np.float32]]]
"""By version: the networks' numbers and the colours, each of shape (grounds, products, numbers)."""

SOFT = (0.6, 0.6, 1.0)
MIDDLE = slice(32, 96)


def stripes(*colours: tuple[int, ...]) -> Hsv:
    """Return a working image of upright stripes."""
    widths = np.array_split(np.arange(SIDE), len(colours))
    small = np.empty((SIDE, SIDE, 3), np.int32)
    for columns, colour in zip(widths, colours, strict=True):
        small[:, columns] = colour
    return small


def everywhere() -> hsv.Weight:
    """Return equal weights."""
    return np.ones((SIDE, SIDE))


@pytest.mark.parametrize("edge", [0.0, 0.6, 1.0])
def test_shares_are_of_the_whole(edge: float) -> None:
    """Each colour's parts add up to 1, wherever it lies, and the middle of a cell has no other."""
    small = np.random.RandomState(2).randint(0, 256, (SIDE, SIDE, 3)).astype(np.int32)
    assert 1 == pytest.approx(Colours(small, (edge,) * 3).shares(everywhere()).sum())
    assert everywhere() == pytest.approx(
        Colours(small, (edge,) * 3).of_pixels(np.ones(hsv.DIMENSIONS))
    )
    middle = Colours(stripes((32, 96, 96)), (edge,) * 3).shares(everywhere())
    assert middle.max() >= (1 if edge < 0.7 else 0.6)


def test_a_colour_that_crosses_an_edge_stays_like_itself() -> None:
    """Two hues on both sides of an edge are alike where edges are soft, red's two ends as well."""
    for hues in ((62, 66), (253, 2)):
        for edge, low, high in ((0, 0, 0), (0.6, 0.85, 1)):
            colours = [Colours(stripes((hue, 224, 224)), (edge,) * 3) for hue in hues]
            one, other = (hsv.roots(each.shares(everywhere())) for each in colours)
            assert low <= float((one * other).sum()) <= high


def test_grounds_are_even_or_uneven() -> None:
    """One colour along the border is even, many are uneven; what lies inside does not count."""
    assert 0 == ground.unevenness(Colours(stripes(GREY)))
    framed = stripes(GREY)
    framed[8:-8, 8:-8] = np.random.RandomState(1).randint(0, 256, (SIDE - 16, SIDE - 16, 3))
    assert 0 == ground.unevenness(Colours(framed))
    assert 1 == ground.unevenness(Colours(np.roll(framed, SIDE // 2, (0, 1))))
    assert 0 < ground.unevenness(Colours(stripes(RED, GREEN, BLUE, GREY))) < 1


def test_pixels_are_told_by_their_colours() -> None:
    """Where the product seems to be, a pixel of the ground's colour counts less than another."""
    small = stripes(GREEN, BLUE)
    small[MIDDLE, MIDDLE] = RED
    small[60:68, 60:68] = GREEN
    seems = np.zeros((SIDE, SIDE))
    seems[24:104, 24:104] = 1
    likely = ground.product_pixels(Colours(small, SOFT), seems, window(SIDE, SIDE, 0.7))
    assert likely[40, 40] > 0.9
    assert likely[64, 64] < 0.3
    assert likely[28, 28] < 0.3
    assert likely[:20].max() < 1e-6


def test_without_a_guess_all_pixels_count() -> None:
    """An image in which nothing stands out divides by no zero."""
    likely = ground.product_pixels(
        Colours(stripes(RED, BLUE), SOFT), np.zeros((SIDE, SIDE)), window(SIDE, SIDE, 0.7)
    )
    assert likely.min() > 0


def test_what_the_border_shows_as_well_is_no_product() -> None:
    """A thing that reaches the border at four places or more is ground; one that does not, or
    at a single place, stands out."""
    maps = np.random.RandomState(3).uniform(0, 0.1, (2, 8, 9, 9)).astype(np.float32)
    maps[:, 0] += 1
    maps[:, 1, :3, :4] += 3  # a corner, with six places of the border
    maps[:, 2, 4:7, 4:7] += 3
    maps[:, 3, 7:, 1:2] += 3
    clear = subject.standing_out(subject.unlikeness(maps))
    assert clear[4:7, 4:7].min() > 0.9
    assert clear[7, 1] > 0.9
    assert clear[1:3, 1:4].max() < 0.3
    assert subject.standing_out(subject.strangeness(maps))[1:3, 1:4].min() > 0.7


def test_before_an_even_ground_only_edges_are_softer() -> None:
    """There both versions have the same networks' numbers, and weigh the colours alike."""
    before, now = (load(name).embed([on_ground(170, 90)[0]])[0] for name in VERSIONS)
    assert np.abs(before - now)[: -hsv.DIMENSIONS].max() < 1e-6
    assert np.abs(before - now)[-hsv.DIMENSIONS :].max() > 0.02


@pytest.fixture(scope="module")
def parts() -> Parts:
    """Return what both versions say of drawn products, each before two uneven grounds."""
    products = range(9000, 9008)
    images = [
        drawings.photograph(number, other + number) for other in (1, 10**5) for number in products
    ]
    found = {}
    for name in VERSIONS:
        vectors = load(name).embed(images).reshape(2, len(products), -1)
        found[name] = np.split(vectors, [vectors.shape[-1] - hsv.DIMENSIONS], axis=-1)
    return found


def test_before_uneven_grounds_colours_weigh_more(parts: Parts) -> None:
    """They weigh 0.65 where the networks weigh 1, and 0.475 before."""
    weights = {
        name: np.linalg.norm(colours, axis=-1) / np.linalg.norm(networks, axis=-1)
        for name, (networks, colours) in parts.items()
    }
    assert 0.475 == pytest.approx(weights["compact-2"].max(), abs=1e-4)
    assert 0.6 <= weights["compact-3"].mean() <= 0.6501


@pytest.mark.parametrize(
    ("part", "gain"), [pytest.param(0, 0.002, id="networks"), pytest.param(1, 0.1, id="colours")]
)
def test_another_uneven_ground_changes_less(parts: Parts, part: int, gain: float) -> None:
    """On both grounds a product is more like itself, and less like another, than before."""
    apart = {}
    for name in VERSIONS:
        one, other = parts[name][part] / np.linalg.norm(parts[name][part], axis=-1, keepdims=True)
        cosines = one @ other.T
        itself = np.eye(len(cosines), dtype=bool)
        apart[name] = cosines[itself].mean() - cosines[~itself].mean()
    assert apart["compact-3"] >= apart["compact-2"] + gain
