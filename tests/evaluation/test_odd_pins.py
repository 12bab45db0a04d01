"""Pins files that somebody wrote, moved or emptied; files that are no images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from productsearch_engine.evaluation import charts, pins
from productsearch_engine.evaluation.dataset import DatasetError
from tests.evaluation.conftest import Command

PIN: dict[str, Any] = {
    "protocol": "any",
    "query": "a.jpg",
    "find": "b.jpg",
    "digest": "0" * 64,
    "within": 5,
}


@pytest.mark.parametrize(
    "change",
    [
        {"within": "5"},
        {"within": 0},
        {"within": -1},
        {"within": True},
        {"query": None},
        {"find": ["a"]},
        {"digest": "xyz"},
        {"rank": 3},
    ],
)
def test_a_pin_of_another_kind_is_no_pin(tmp_path: Path, change: dict[str, Any]) -> None:
    """A value that no pin has is refused before the first search."""
    file = tmp_path / "pins.json"
    file.write_text(json.dumps({"pins": [PIN]}))
    assert [pins.Pin(**PIN)] == pins.read(file)
    file.write_text(json.dumps({"pins": [PIN | change]}))
    with pytest.raises(DatasetError, match="not a pins file"):
        pins.read(file)


def test_a_deep_file_is_no_pins_file(tmp_path: Path) -> None:
    """What a parser cannot go down into is refused, too."""
    file = tmp_path / "pins.json"
    file.write_text("[" * 100_000)
    with pytest.raises(DatasetError, match="not a pins file"):
        pins.read(file)


@pytest.mark.parametrize(
    ("kept", "options", "said"),
    [
        ([], (), "has no pinned search: nothing"),
        ([PIN], ("--protocol", "view"), "has no pinned search of view: nothing"),
    ],
)
def test_nothing_to_check_is_no_success(
    shop: Path,
    evaluate: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kept: list[dict[str, Any]],
    options: tuple[str, ...],
    said: str,
) -> None:
    """A check that checks nothing fails, or nobody would see that its pins are gone."""
    file = tmp_path / "pins.json"
    file.write_text(json.dumps({"pins": kept}))
    assert 1 == evaluate(shop, "--check-pins", str(file), *options)
    assert said in capsys.readouterr().err


def test_pins_hold_by_whatever_link(
    shop: Path,
    evaluate: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images that are reached through a link are those that were pinned; one that is gone is told
    to be gone."""
    monkeypatch.setattr(charts, "are_possible", lambda: False)  # they take a second
    file, link = tmp_path / "pins.json", tmp_path / "link"
    assert 0 == evaluate(shop, "--pin", str(file))
    link.symlink_to(shop)
    assert 0 == evaluate(link, "--check-pins", str(file))
    find = json.loads(file.read_text())["pins"][0]["find"]
    (tmp_path / find).unlink()
    capsys.readouterr()
    assert 1 == evaluate(shop, "--check-pins", str(file))
    assert f"not among the images: {find}" in capsys.readouterr().out


def test_all_files_that_are_no_images_are_named(
    shop: Path, evaluate: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those whose first bytes are wrong before anything is embedded, damaged ones in one go."""
    good = (shop / "style3-red-main.jpg").read_bytes()
    names = ("style1-blue-main.jpg", "style2-blue-main.jpg")
    for name in names:
        (shop / name).write_bytes(b"no image")
    assert 1 == evaluate(shop)
    told = capsys.readouterr()
    assert "of 16 images" not in told.err
    for name in names:
        assert name in told.err
        (shop / name).write_bytes(good[: len(good) // 2])
    assert 1 == evaluate(shop)
    told = capsys.readouterr()
    assert all(name in told.err for name in names)
