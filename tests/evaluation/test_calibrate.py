"""``evaluate --calibrate``: a library's scores mean what its user's images say."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from PIL import Image

from demo.processes import Engine, ServerError
from tests.engine.calling import Caller
from tests.evaluation.drawings import photograph
from tests.pictures import draw, encode

pytestmark = pytest.mark.slow


def shop(folder: Path, products: int) -> Path:
    """Write two images of each product, before different grounds."""
    folder.mkdir()
    for product in range(products):
        for place in (1, 2):
            image = Image.fromarray(photograph(product, place * 1000 + product))
            image.save(folder / f"thing{product}x-{place}.jpg")
    return folder


def test_scores_follow_the_labels(engine: Engine, tmp_path: Path) -> None:
    """The calibration is stored with the library, is said to have a small error on products that
    were not used, and gives other scores, in the same order; the very same image stays at 1."""
    caller = Caller(engine.url, *engine.create_library("calibrated"))
    images = [encode(draw(seed), quality=85) for seed in range(8)]
    for image in images:
        caller.call("add", image=image, brief="")
    asked = encode(draw(3).rotate(20), quality=85)
    before = caller.call("search", image=asked)["result"]
    folder = shop(tmp_path / "shop", 60)
    out = ("--out", str(tmp_path / "out"))
    said = engine.command("evaluate", str(folder), "--calibrate", "calibrated", *out)
    errors = re.findall(r"error of (\w+) is (\d\.\d+)", said)
    assert ["any"] == [protocol for protocol, _ in errors]
    assert float(errors[0][1]) <= 0.1  # 240 answers: the share of a bin varies
    second = Caller(engine.url, caller.api_key, caller.secret_key)
    after = before
    for _ in range(60):  # an engine goes for 5 s by what it knows of a library
        time.sleep(0.1)
        after = second.call("search", image=asked)["result"]
        if after != before:
            break
    scores = [hit["score"] for hit in after]
    assert scores != [hit["score"] for hit in before]
    assert scores == sorted(scores, reverse=True)
    assert [hit["cont_sign"] for hit in before] == [hit["cont_sign"] for hit in after]
    assert 1.0 == second.call("search", image=images[3])["result"][0]["score"]
    second.close()
    caller.close()


def test_too_few_images_are_told(engine: Engine, tmp_path: Path) -> None:
    """A calibration on a handful of images would be chance."""
    engine.create_library("uncalibrated")
    folder = shop(tmp_path / "shop", 5)
    with pytest.raises(ServerError, match="at least 40 first hits"):
        engine.command(
            "evaluate", str(folder), "--calibrate", "uncalibrated", "--out", str(tmp_path / "out")
        )


def test_few_labels_are_told_to_be_few(engine: Engine, tmp_path: Path) -> None:
    """Ten products, searched for with two images each, make a calibration, with a warning."""
    engine.create_library("few")
    folder, numbers = shop(tmp_path / "shop", 10), tmp_path / "numbers.json"
    out = ("--out", str(tmp_path / "out"), "--json", str(numbers))
    said = engine.command("evaluate", str(folder), "--calibrate", "few", *out)
    assert "40 first hits are few" in said
    told = json.loads(numbers.read_text("utf-8"))["calibration"]
    assert 40 == told["first_hits"]
    assert told["scores"] == sorted(told["scores"])
