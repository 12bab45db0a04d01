"""Draws searches as one image: each row what was searched with and its best hits, with scores.

A tick or a cross says whether a hit is right; its colour only repeats that.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

_CELL_PX = 168
_GAP_PX = 12
_TEXT_PX = 40
_HEAD_PX = 48
_TITLE_PX = 34
_BADGE_PX = 30
_INK, _PAPER, _MUTED = "#1c1f24", "#f6f5f1", "#6b7078"
# Blue and orange, which nearly everybody can tell apart.
_RIGHT, _WRONG = "#1b6ca8", "#b8501c"
_TICK = ((0.22, 0.52), (0.42, 0.72), (0.78, 0.3))
_CROSS = (((0.28, 0.28), (0.72, 0.72)), ((0.72, 0.28), (0.28, 0.72)))


@dataclass(frozen=True)
class Cell:
    """An image with two lines below it; ``right`` is None for what was searched with."""

    image: bytes
    title: str
    line: str
    right: bool | None = None


def write(groups: Sequence[tuple[str, Sequence[Sequence[Cell]]]], path: Path) -> None:
    """Write the groups of rows, each under its title, as a PNG."""
    columns = max(len(row) for _, rows in groups for row in rows)
    step_x, step_y = _CELL_PX + _GAP_PX, _CELL_PX + _TEXT_PX + _GAP_PX
    height = _HEAD_PX + sum(_TITLE_PX + len(rows) * step_y for _, rows in groups)
    sheet = Image.new("RGB", (max(columns, 4) * step_x + 2 * _GAP_PX, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _legend(pen)
    top = _HEAD_PX
    for title, rows in groups:
        pen.text((_GAP_PX, top + 6), f"To be found: {title}", _INK, ImageFont.load_default(16))
        top += _TITLE_PX
        for row in rows:
            for column, cell in enumerate(row):
                gap = _GAP_PX if column == 0 else _GAP_PX * 2
                _draw(sheet, pen, cell, (gap + column * step_x, top))
            top += step_y
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "PNG")


def _legend(pen: ImageDraw.ImageDraw) -> None:
    font = ImageFont.load_default(14)
    pen.text((_GAP_PX, 14), "left: searched with; then the hits, best first", _INK, font)
    x = _GAP_PX + 330
    for right, words in ((True, "the same product"), (False, "another one")):
        _badge(pen, (x, 8), right)
        pen.text((x + _BADGE_PX + 8, 14), words, _INK, font)
        x += _BADGE_PX + 150


def _draw(sheet: Image.Image, pen: ImageDraw.ImageDraw, cell: Cell, at: tuple[int, int]) -> None:
    x, y = at
    image = Image.open(io.BytesIO(cell.image)).convert("RGB")
    sheet.paste(ImageOps.pad(image, (_CELL_PX, _CELL_PX), color="white"), at)
    if cell.right is not None:
        box = (x, y, x + _CELL_PX - 1, y + _CELL_PX - 1)
        pen.rectangle(box, outline=_RIGHT if cell.right else _WRONG, width=3)
        _badge(pen, (x + _CELL_PX - _BADGE_PX - 6, y + 6), cell.right)
    font = ImageFont.load_default(13)
    pen.text((x, y + _CELL_PX + 3), cell.title[:24], _INK, font)
    pen.text((x, y + _CELL_PX + 20), cell.line, _MUTED, font)


def _badge(pen: ImageDraw.ImageDraw, at: tuple[int, int], right: bool) -> None:
    x, y = at
    pen.ellipse((x, y, x + _BADGE_PX, y + _BADGE_PX), fill=_RIGHT if right else _WRONG)
    for line in (_TICK,) if right else _CROSS:
        points = [(x + part_x * _BADGE_PX, y + part_y * _BADGE_PX) for part_x, part_y in line]
        pen.line(points, fill="white", width=4, joint="curve")
