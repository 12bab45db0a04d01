"""Labelled images and a way to run ``evaluate`` on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from productsearch_engine import cli
from tests.pictures import draw

Command = Callable[..., int]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Four products in two colours from two sides; the colour of a product is a tint of it."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for product in range(4):
        for tint, colour in enumerate(("blue", "red")):
            image = draw(product, 160, 120)  # below what a library takes
            image.point([min(255, value + 12 * tint) for value in range(256)] * 3).save(
                folder / f"style{product}-{colour}-main.jpg"
            )
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
                folder / f"style{product}-{colour}-back.jpg"
            )
    return folder


@pytest.fixture
def evaluate(tmp_path: Path) -> Command:
    """Runs the command with the cheapest embeddings."""

    def run(source: Path, *arguments: str) -> int:
        usual = ["--embedding", "hsv", "--embedding", "phash", "--out", str(tmp_path / "out")]
        data = ["--data", str(tmp_path / "data")]
        return cli.main(["evaluate", str(source), *usual, *data, *arguments])

    return run
