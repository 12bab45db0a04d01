"""Writes the report: one HTML page with its images inside, readable without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from productsearch_engine.evaluation import photographs
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
  color: #1c1f24; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left }
img.chart { max-width: 100% }
.misses { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem }
figure { margin: 0; border: 1px solid #ccc; padding: .5rem }
figure div { display: grid; grid-template-columns: repeat(3, 1fr); gap: .25rem }
figure img { width: 100%; height: 7rem; object-fit: contain }
figcaption { font-size: 13px; overflow-wrap: anywhere }
</style></head><body>
"""


def write(
    path: Path,
    items: Sequence[Item],
    embedded: Sequence[Embedded],
    results: Mapping[str, Sequence[Result]],
    lines: Sequence[str],
    chart: Path,
) -> None:
    """Write the page; ``lines`` is the table as the command printed it."""
    parts = [_HEAD, f"<h1>Evaluation of image embeddings</h1><p>{len(items)} images.</p>"]
    parts.append(_table(embedded, results))
    parts.append(f"<pre>{escape(chr(10).join(lines))}</pre>")
    encoded = base64.b64encode(chart.read_bytes()).decode()
    alt = "Score histograms and reliability curves of each embedding"
    parts.append(f'<img class="chart" alt="{alt}" src="data:image/png;base64,{encoded}">')
    first = embedded[0].name
    for result in results[first]:
        parts.append(f"<h2>{escape(first)}, {escape(result.protocol.name)}: worst misses</h2>")
        parts.append("<p>Searched with, found first, should have been found.</p>")
        parts.append('<div class="misses">')
        parts += [_miss(items, result, row) for row in worst_misses(result)]
        parts.append("</div>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</body></html>\n"]), "utf-8")


def worst_misses(result: Result) -> list[int]:
    """Return the queries whose first hit is wrong, by how far it is before the right one."""
    ranking = result.ranking
    wrong = np.flatnonzero(~ranking.right[:, 0])
    best_right = ranking.scores[wrong, ranking.right[wrong].argmax(1)]
    margin = ranking.scores[wrong, 0] - best_right
    return [int(row) for row in wrong[np.argsort(-margin, kind="stable")][:_MISSES]]


def _table(embedded: Sequence[Embedded], results: Mapping[str, Sequence[Result]]) -> str:
    figures = list(results[embedded[0].name][0].figures)
    head = "".join(f"<th>{name}</th>" for name in ["protocol", "embedding", *figures])
    rows = [
        f"<tr><td>{escape(result.protocol.name)}</td><td>{escape(each.name)}</td>"
        + "".join(f"<td>{result.mean(figure):.3f}</td>" for figure in figures)
        + f"<td>{each.cost_ms:.1f}</td><td>{each.image_bytes}</td></tr>"
        for place in range(len(results[embedded[0].name]))
        for each in embedded
        for result in [results[each.name][place]]
    ]
    return f"<table><tr>{head}<th>ms</th><th>bytes</th></tr>{''.join(rows)}</table>"


def _miss(items: Sequence[Item], result: Result, row: int) -> str:
    ranking, stored = result.ranking, result.protocol.stored
    place = int(ranking.right[row].argmax())
    shown = [
        (items[result.protocol.queries[row]], "query"),
        (items[stored[ranking.order[row, 0]]], f"1st, cosine {ranking.scores[row, 0]:.3f}"),
        (
            items[stored[ranking.order[row, place]]],
            f"rank {place + 1}, cosine {ranking.scores[row, place]:.3f}",
        ),
    ]
    images = "".join(
        f'<img alt="{escape(item.path.name)}" src="{_inline(item)}">' for item, _ in shown
    )
    words = "<br>".join(f"{escape(what)}: {escape(item.path.name)}" for item, what in shown)
    return f"<figure><div>{images}</div><figcaption>{words}</figcaption></figure>"


def _inline(item: Item) -> str:
    buffer = io.BytesIO()
    photographs.thumbnail(item.path, _SIDE_PX).save(buffer, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
