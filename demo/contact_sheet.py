"""Draws searches as one image: each row a query and its best hits, with their scores."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

_CELL_PX = 168
_GAP_PX = 12
_TEXT_PX = 40
_HEAD_PX = 44
_INK, _PAPER, _MUTED = "#1c1f24", "#f6f5f1", "#6b7078"
_SAME, _OTHER = "#2e7d4f", "#c0503c"


@dataclass(frozen=True)
class Cell:
    """An image with two lines below it; ``same`` colours its frame (None: a query)."""

    image: bytes
    title: str
    line: str
    same: bool | None = None


def write(rows: Sequence[Sequence[Cell]], path: Path) -> None:
    """Write the rows as a PNG."""
    columns = max(len(row) for row in rows)
    step_x, step_y = _CELL_PX + _GAP_PX, _CELL_PX + _TEXT_PX + _GAP_PX
    size = (columns * step_x + 2 * _GAP_PX, len(rows) * step_y + _HEAD_PX + _GAP_PX)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    head = ImageFont.load_default(16)
    pen.text((_GAP_PX, 12), "searched with", _INK, head)
    pen.text((_GAP_PX * 2 + step_x, 12), "found, best first", _INK, head)
    for row_number, row in enumerate(rows):
        for column, cell in enumerate(row):
            gap = _GAP_PX if column == 0 else _GAP_PX * 2
            _draw(sheet, pen, cell, (gap + column * step_x, _HEAD_PX + row_number * step_y))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "PNG")


def _draw(sheet: Image.Image, pen: ImageDraw.ImageDraw, cell: Cell, at: tuple[int, int]) -> None:
    x, y = at
    image = Image.open(io.BytesIO(cell.image)).convert("RGB")
    sheet.paste(ImageOps.fit(image, (_CELL_PX, _CELL_PX)), at)
    if cell.same is not None:
        box = (x, y, x + _CELL_PX - 1, y + _CELL_PX - 1)
        pen.rectangle(box, outline=_SAME if cell.same else _OTHER, width=4)
    font = ImageFont.load_default(13)
    pen.text((x, y + _CELL_PX + 3), cell.title[:24], _INK, font)
    pen.text((x, y + _CELL_PX + 20), cell.line, _MUTED, font)
