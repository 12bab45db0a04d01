"""A folder of images to import, of which some are bad in ten ways, and how each is mended."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Final

from tests.pictures import draw, encode, jpeg

_FOLDERS: Final = 16
_LONG_NAME: Final = "n" * 200
KINDS: Final = {
    "empty": "IMAGE_UNREADABLE",
    "text": "IMAGE_UNREADABLE",
    "cut": "IMAGE_UNREADABLE",
    "webp": "IMAGE_UNREADABLE",
    "small": "IMAGE_SIZE_INVALID",
    "long": "IMAGE_SIZE_INVALID",
    "heavy": "IMAGE_SIZE_INVALID",
    "huge": "IMAGE_SIZE_INVALID",
    "gone": "FILE_UNREADABLE",
    "brief": "FIELD_INVALID",
}
"""Way to be bad -> the reason that it has to get."""


class Photos:
    """The folder. ``bad`` maps keys to their kinds; it keeps its keys when it is moved."""

    def __init__(self, folder: Path, size: int, bad_share: float, seed: int) -> None:
        self.folder = folder
        self.size = size
        chance = random.Random(seed)
        kinds = [*KINDS]
        bad = sorted(chance.sample(range(size), max(round(size * bad_share), len(kinds))))
        kind_of = {number: kinds[place % len(kinds)] for place, number in enumerate(bad)}
        self.bad: dict[str, str] = {}
        for number in range(size):
            kind = kind_of.get(number)
            name = f"{number:06}.jpg" if kind != "brief" else f"{number:06}{_LONG_NAME}.jpg"
            key = f"{number % _FOLDERS:02}/{name}"
            file = folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            if kind is None:
                file.write_bytes(jpeg(number))
            else:
                self.bad[key] = kind
                _spoil(file, kind, number)

    @property
    def good(self) -> int:
        """How many are good."""
        return self.size - len(self.bad)

    def move(self, folder: Path) -> None:
        """Move the folder with all that stands in it."""
        self.folder.rename(folder)
        self.folder = folder

    def mend(self, rejects: Path) -> None:
        """Mend each bad image: the file in its place, or its row in the rejects file."""
        with rejects.open(newline="", encoding="utf-8") as lines:
            rows = [*csv.DictReader(lines)]
        for row in rows:
            number = int(Path(row["key"]).name[:6])
            if self.bad[row["key"]] == "brief":
                row["brief"] = f"mended {number}"
                continue
            file = self.folder / row["image"]
            file.unlink()
            file.write_bytes(jpeg(number))
        with rejects.open("w", newline="", encoding="utf-8") as file_of_rows:
            table = csv.DictWriter(file_of_rows, rows[0])
            table.writeheader()
            table.writerows(rows)


def _spoil(file: Path, kind: str, number: int) -> None:
    image = jpeg(number)
    if kind == "gone":
        file.symlink_to("nowhere")
        return
    contents = {
        "empty": lambda: b"",
        "text": lambda: f"no image {number}".encode(),
        "cut": lambda: image[: len(image) // 3],
        "webp": lambda: encode(draw(number), "WEBP"),
        "small": lambda: jpeg(number, 200, 280),
        "long": lambda: jpeg(number, 4200, 300),
        "heavy": lambda: image + bytes(3_600_000),
        "huge": lambda: image + bytes(20_980_000),
        "brief": lambda: image,
    }
    file.write_bytes(contents[kind]())
