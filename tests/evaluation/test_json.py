"""``evaluate --json``: what is printed, as numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from productsearch_engine.evaluation import metrics
from tests.evaluation.conftest import Command


def test_all_numbers_are_in_the_file(
    shop: Path, evaluate: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each protocol has each embedding's figures, as the table has them, its errors, and how far
    the embeddings are apart."""
    file = tmp_path / "new" / "numbers.json"
    assert 0 == evaluate(shop, "--json", str(file))
    printed = capsys.readouterr().out
    told = json.loads(file.read_text("utf-8"))
    assert (16, 4) == (told["images"], told["products"])
    assert ["hsv", "phash"] == [each["name"] for each in told["embeddings"]]
    assert all(each["ms"] > 0 and each["bytes"] > 0 for each in told["embeddings"])
    assert ["any", "colour", "view"] == [each["name"] for each in told["protocols"]]
    for protocol in told["protocols"]:
        for result in protocol["results"]:
            figures = "".join(f"{result[name]:11.3f}" for name in [*FIGURES])
            row = f"{protocol['name']:10} {result['embedding']:16} {protocol['queries']:7}{figures}"
            assert f"{row}  {result['error']['found']:6.3f}" in printed
            assert 0 <= result["error"]["by_chance"] <= result["error"]["by_chance_max"] <= 1
            assert sum(result["reliability"]["count"]) == 2 * protocol["queries"]
        (difference,) = protocol["differences"]
        assert "phash" == difference["other"]
        assert difference["low"] <= difference["mean"] <= difference["high"]
        assert f"{protocol['name']}: hsv is {difference['mean']:+.3f} against phash" in printed
    assert "calibration" not in told
    assert "pins" not in told


FIGURES = [*(f"recall@{depth}" for depth in metrics.DEPTHS), "mAP"]


def test_lost_pins_are_in_the_file(shop: Path, evaluate: Command, tmp_path: Path) -> None:
    """The numbers are written although the command fails."""
    pins, file = tmp_path / "pins.json", tmp_path / "numbers.json"
    assert 0 == evaluate(shop, "--pin", str(pins))
    lost = next(pin for pin in json.loads(pins.read_text())["pins"] if pin["protocol"] == "any")
    for number in range(5):  # as near as the hit, and first by name
        shutil.copy(tmp_path / lost["query"], shop / f"a{number}-red-main.jpg")
    shutil.copy(shop / "style3-red-back.jpg", tmp_path / lost["find"])
    assert 1 == evaluate(shop, "--check-pins", str(pins), "--json", str(file))
    told = json.loads(file.read_text("utf-8"))["pins"]
    assert lost in told["lost"]
    assert told["kept"] > len(told["lost"])


def test_a_folder_is_refused_early(
    shop: Path, evaluate: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first image is embedded."""
    assert 1 == evaluate(shop, "--json", str(tmp_path))
    told = capsys.readouterr()
    assert "Is a directory" in told.err
    assert "images" not in told.out
