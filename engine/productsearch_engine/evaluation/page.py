"""Writes the report: one HTML page with its images inside, readable without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from productsearch_engine.evaluation import photographs, table
from productsearch_engine.evaluation.dataset import Item
from productsearch_engine.evaluation.measure import Embedded, Result

_MISSES = 12
_SIDE_PX = 180

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of image embeddings</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c1f24; background: #fff; overflow-wrap: anywhere }
.wide { overflow-x: auto }
td:nth-child(2) { min-width: 10rem }
td:nth-child(n+3), th { overflow-wrap: normal }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ccc }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left }
img.chart { max-width: 100% }
.misses { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem }
figure { margin: 0; border: 1px solid #ccc; padding: .5rem }
figure div { display: grid; grid-template-columns: repeat(3, 1fr); gap: .25rem }
figure img { width: 100%; height: 7rem; object-fit: contain }
figcaption { font-size: 13px }
</style></head><body>
"""


def write(
    path: Path,
    about: Sequence[str],
    items: Sequence[Item],
    embedded: Sequence[Embedded],
    results: Mapping[str, Sequence[Result]],
    chart: bytes | None,
) -> None:
    """Write the page; ``about`` are sentences on the images, ``chart`` is a PNG."""
    parts = [_HEAD, "<h1>Evaluation of image embeddings</h1>"]
    parts += [f"<p>{escape(sentence)}</p>" for sentence in about]
    parts.append(_table(table.rows(embedded, results)))
    parts.append(f"<p>{escape(table.NOTE)}</p><ul>")
    parts += [f"<li>{escape(each)}</li>" for each in table.differences(items, embedded, results)]
    parts.append("</ul>")
    if chart is not None:
        alt = "Score histograms and reliability curves of each embedding"
        encoded = base64.b64encode(chart).decode()
        parts.append(f'<img class="chart" alt="{alt}" src="data:image/png;base64,{encoded}">')
    first = embedded[0]
    for result in results[first.name]:
        parts.append(f"<h2>{escape(first.name)}, {escape(result.protocol.name)}: worst misses</h2>")
        misses = worst_misses(result)
        if not misses:
            parts.append("<p>None: the first hit of every query is right.</p>")
            continue
        parts.append("<p>Searched with, found first, should have been found.</p>")
        parts.append('<div class="misses">')
        parts += [_miss(items, first, result, row) for row in misses]
        parts.append("</div>")
    # Names of files need not be UTF-8.
    path.write_text("\n".join([*parts, "</body></html>\n"]), "utf-8", "backslashreplace")


def worst_misses(result: Result) -> list[int]:
    """Return the queries whose first hit is wrong, by how far it is before the right one."""
    ranking = result.ranking
    wrong = np.flatnonzero(~ranking.right[:, 0])
    margin = ranking.scores[wrong, 0] - result.nearest_right.score[wrong]
    return [int(row) for row in wrong[np.argsort(-margin, kind="stable")][:_MISSES]]


def _table(rows: Sequence[table.Row]) -> str:
    names = ["protocol", "embedding", "queries", *rows[0].figures, "error", "ms", "bytes"]
    head = "".join(f"<th>{name}</th>" for name in names)
    lines = "".join(map(_row, rows))
    return f'<div class="wide" tabindex="0"><table><tr>{head}</tr>{lines}</table></div>'


def _row(row: table.Row) -> str:
    figures = [f"{mean:.3f}" for mean in (*row.figures.values(), row.error)]
    cells = [row.protocol, row.embedding, row.queries, *figures, f"{row.cost_ms:.1f}"]
    return (
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in [*cells, row.image_bytes])}</tr>"
    )


def _miss(items: Sequence[Item], embedded: Embedded, result: Result, row: int) -> str:
    ranking, stored = result.ranking, result.protocol.stored
    rank, place, found = (each[row] for each in result.nearest_right)

    def worth(cosine: float) -> str:
        return f"score {embedded.score(np.array(cosine)):.2f} (cosine {cosine:.3f})"

    shown = [
        (items[result.protocol.queries[row]], "query"),
        (items[stored[ranking.order[row, 0]]], f"1st, {worth(ranking.scores[row, 0])}"),
        (items[stored[place]], f"rank {rank + 1}, {worth(found)}"),
    ]
    images = "".join(
        f'<img alt="{escape(item.path.name)}" src="{_inline(item)}">' for item, _ in shown
    )
    words = "<br>".join(f"{escape(what)}: {escape(_called(item))}" for item, what in shown)
    return f"<figure><div>{images}</div><figcaption>{words}</figcaption></figure>"


def _called(item: Item) -> str:
    """Return the product as well where the file's name does not begin with it."""
    name = item.path.name
    return name if name.startswith(item.product) else f"{name} of {item.product}"


def _inline(item: Item) -> str:
    buffer = io.BytesIO()
    photographs.thumbnail(item.path, _SIDE_PX).save(buffer, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
