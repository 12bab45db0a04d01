"""`make demo PHOTOS=FOLDER`: folders as strangers have them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo import products
from tests.pictures import draw


def shop(folder: Path, count: int) -> Path:
    """Make a folder for each product, in which files have the same names."""
    for product in range(count):
        place = folder / f"杯子 \udce6{product}"
        place.mkdir(parents=True)
        for number in range(3):
            draw(10 * product + number, 320, 320).save(place / f"{number}.jpg")
    return folder


def test_names_repeat_and_are_no_text(tmp_path: Path) -> None:
    """Each image has a key of its own that a message can carry, whatever its file is called."""
    (series,) = products.from_folder(shop(tmp_path, 3))
    photos = [*series.stored, *series.queries]
    keys = {photo.key.encode() for photo in photos}
    assert 9 == len(photos) == len(keys)
    assert 3 == len({photo.product.encode() for photo in photos})


def test_classes_of_files_in_folders(tmp_path: Path) -> None:
    """A table names files by their path, its columns may be in capitals."""
    shop(tmp_path, 2)
    names = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("?.jpg"))]
    rows = [f"{name},p{i // 3},{7 + i // 3},{5}" for i, name in enumerate(names)]
    text = "\n".join(["file,product,product_id,group_id", *rows])
    table = tmp_path / "photos.csv"
    for folder in tmp_path.iterdir():  # a table is in UTF-8
        folder.rename(folder.with_name(folder.name.replace("\udce6", "")))
    table.write_text(text.replace("\udce6", ""), "utf-8")
    (series,) = products.from_folder(tmp_path)
    assert {(7, 5), (8, 5)} == {(photo.class_id, photo.group_id) for photo in series.stored}
    table.write_text(table.read_text("utf-8").replace("file,", "File,"), "utf-8")
    assert 2 == len({photo.class_id for photo in products.from_folder(tmp_path)[0].stored})


@pytest.mark.slow
def test_the_tour_of_folders_with_copies(tmp_path: Path) -> None:
    """Copies of an image are stored once; the tour goes on to its end."""
    folder = shop(tmp_path / "shop", 3)
    for place in folder.iterdir():
        shutil.copy(place / "0.jpg", place / "0 (2).jpg")
        shutil.copy(place / "0.jpg", place / "0 (3).jpg")
    done = subprocess.run(
        [sys.executable, "-m", "demo", "tour", "--photos", folder, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "3 added, 6 duplicates" in done.stdout
    assert (tmp_path / "out/contact-sheet.png").is_file()
