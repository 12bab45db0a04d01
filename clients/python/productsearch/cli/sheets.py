"""A search and its hits as one image, or as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from productsearch.cli.failures import missing_extra, usage
from productsearch.cli.hit_images import SIDE_PX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from productsearch.v1 import SearchResult

_COLUMNS: Final = 5
_TEXT_PX: Final = 48
_TEXT_CHARS: Final = 36
_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px sans-serif; margin: 2em; color: #222 }}
ol {{ display: flex; flex-wrap: wrap; gap: 1.5em; padding: 0; list-style: none }}
li, figure {{ width: 15em; margin: 0; overflow-wrap: anywhere }}
img {{ width: 15em; height: 15em; object-fit: contain; background: #f3f3f3 }}
.none {{ width: 15em; height: 15em; background: #f3f3f3 }}
</style>
<h1>{title}</h1>
<figure>{query}</figure>
<ol>
{hits}
</ol>
</html>
"""
_HIT: Final = (
    "<li>{image}<div>{rank}. <b>{score:.3f}</b></div><div>{brief}</div><code>{sign}</code></li>"
)


def write_html(
    file: Path, name: str, query: bytes, hits: Sequence[SearchResult], images: Mapping[str, bytes]
) -> None:
    """Write the page; hits without an image have a grey field. Raises Failure."""
    page = _PAGE.format(
        title=escape(f"Search with {name}"),
        query=_img(query),
        hits="\n".join(
            _HIT.format(
                image=_img(images.get(hit.cont_sign, b"")),
                rank=rank,
                score=hit.score,
                brief=escape(hit.brief),
                sign=escape(hit.cont_sign),
            )
            for rank, hit in enumerate(hits, 1)
        ),
    )
    _write(file, page.encode())


def _img(png: bytes) -> str:
    if not png:
        return '<div class="none"></div>'
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def write_sheet(
    file: Path, query: bytes, hits: Sequence[SearchResult], images: Mapping[str, bytes]
) -> None:
    """Write the sheet: the image that was searched with, then the hits. Raises Failure."""
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError:
        raise missing_extra("images", "--sheet") from None
    cells = [(query, "searched with", "")]
    cells += [
        (images.get(hit.cont_sign, b""), f"{rank}. {hit.score:.3f}  {hit.cont_sign}", hit.brief)
        for rank, hit in enumerate(hits, 1)
    ]
    rows = -(-len(cells) // _COLUMNS)
    size = (_COLUMNS * SIDE_PX, rows * (SIDE_PX + _TEXT_PX))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for number, (png, line, brief) in enumerate(cells):
        left = number % _COLUMNS * SIDE_PX
        top = number // _COLUMNS * (SIDE_PX + _TEXT_PX)
        if png:
            with Image.open(io.BytesIO(png)) as image:
                sheet.paste(image, (left, top))
        for place, text in enumerate((line, brief)):
            # Pillow's own font has no more than Latin letters.
            shown = text[:_TEXT_CHARS].encode("latin-1", "replace").decode("latin-1")
            pen.text((left + 4, top + SIDE_PX + 4 + 20 * place), shown, fill="black")
    saved = io.BytesIO()
    formats = Image.registered_extensions()
    if (kind := formats.get(file.suffix.lower())) not in ("PNG", "JPEG", "WEBP"):
        raise usage(f"--sheet {file}: use a name that ends in .png, .jpg or .webp")
    sheet.save(saved, kind)
    _write(file, saved.getvalue())


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as wrong:
        raise usage(f"{file}: {wrong.strerror}", "name a file that can be written") from None
