"""Puts the demo's products into files and, with the command line, into the library."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from demo import products
from demo.products import Photo

_COLUMNS = ("sku", "image", "brief", "class_id1", "class_id2")


class Stock(NamedTuple):
    """Where the files are."""

    listed: Path
    """CSV of the images to be stored, beside the images. The import's journal stands there too."""
    photos: Path
    """Folder of other photos of the same products, to search with. They are not stored."""


def written(data: Path) -> Stock:
    """Draw the products into files under ``data``, unless they are there."""
    folder, photos = data / "products", data / "photos"
    stock = Stock(folder / "products.csv", photos)
    if not stock.listed.exists():
        series, *_ = products.drawn()
        _write_images(folder, series.stored)
        _write_images(photos, series.queries)
        _write_list(stock.listed, sorted(series.stored, key=lambda photo: photo.key))
    return stock


def imported(stock: Stock, target: str) -> str:
    """Import what is not in the library yet, and return a line about it.

    The import's journal knows what was stored before: a second run makes no call, and an image
    that somebody deleted meanwhile stays deleted.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "productsearch.cli", "import", str(stock.listed)),
            *("--target", target, "--plaintext", "--json"),
        ],
        env=_without_settings(stock),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        return f"The demo's products are not all in the library (exit code {done.returncode})."
    summary = json.loads(done.stdout)
    stored = f"{summary['done']} images of products are in the library"
    if not summary["calls"]:
        return f"{stored}; they were there before."
    return f"{stored}; adding {summary['created']} took {summary['seconds']:.1f} s."


def _without_settings(stock: Stock) -> dict[str, str]:
    """Return the environment without the user's own profiles, tokens and libraries."""
    kept = {name: value for name, value in os.environ.items() if "PRODUCTSEARCH_CLI_" not in name}
    return kept | {"PRODUCTSEARCH_CLI_CONFIG": str(stock.listed.with_name("no-config.toml"))}


def _write_images(folder: Path, images: Iterable[Photo]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        (folder / f"{image.key}.jpg").write_bytes(image.content)


def _write_list(file: Path, images: Iterable[Photo]) -> None:
    """Write the list under another name first: where it stands, everything is written."""
    unfinished = file.with_suffix(".part")
    with unfinished.open("w", newline="", encoding="utf-8") as lines:
        rows = csv.writer(lines)
        rows.writerow(_COLUMNS)
        for image in images:
            brief = json.dumps({"id": image.key, "name": image.product}, separators=(",", ":"))
            rows.writerow((image.key, f"{image.key}.jpg", brief, image.class_id, image.group_id))
    unfinished.replace(file)
