"""The figures as rows and as lines of text; what the paired bootstrap says of differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from productsearch_engine.evaluation import bootstrap, reliability
from productsearch_engine.evaluation.dataset import Item
from productsearch_engine.evaluation.measure import Embedded, Result

COMPARED_BY = "recall@1"


NOTE = "error: of the scores' calibration; ms: processor time for one image; bytes: of a vector"
"""What the last columns are."""


@dataclass(frozen=True)
class Row:
    """The figures of one embedding by one protocol."""

    protocol: str
    embedding: str
    queries: int
    figures: dict[str, float]
    """Means over the queries, by the figure's name."""
    error: float
    """Expected calibration error of the scores, 0 to 1."""
    cost_ms: float
    image_bytes: int


def rows(embedded: Sequence[Embedded], results: Mapping[str, Sequence[Result]]) -> list[Row]:
    """Return the table, protocol by protocol; ``results`` has the results by the embedding's name.

    All rows have the same figures.
    """
    return [
        _row(each, results[each.name][place])
        for place in range(len(results[embedded[0].name]))
        for each in embedded
    ]


def _row(each: Embedded, result: Result) -> Row:
    cosine, right = reliability.questions(result.answers)
    return Row(
        protocol=result.protocol.name,
        embedding=each.name,
        queries=len(result.protocol.queries),
        figures={figure: result.mean(figure) for figure in result.figures},
        error=reliability.curve(each.score(cosine), right).error,
        cost_ms=each.cost_ms,
        image_bytes=each.image_bytes,
    )


def lines(
    items: Sequence[Item],
    embedded: Sequence[Embedded],
    results: Mapping[str, Sequence[Result]],
) -> list[str]:
    """Return the table and the differences as text."""
    return [*_table(rows(embedded, results)), *differences(items, embedded, results)]


def _table(rows: Sequence[Row]) -> Iterator[str]:
    wide = max(16, *(len(row.embedding) for row in rows))
    heads = "".join(f"{figure:>11}" for figure in rows[0].figures) + "   error      ms   bytes"
    yield f"{'protocol':10} {'embedding':{wide}} queries{heads}"
    for row in rows:
        means = "".join(f"{mean:11.3f}" for mean in row.figures.values())
        yield (
            f"{row.protocol:10} {row.embedding:{wide}} {row.queries:7}{means}"
            f"  {row.error:6.3f}  {row.cost_ms:6.1f}  {row.image_bytes:6}"
        )
    yield NOTE


def differences(
    items: Sequence[Item],
    embedded: Sequence[Embedded],
    results: Mapping[str, Sequence[Result]],
) -> Iterator[str]:
    """Say how far the first embedding is from each other one, and whether that could be chance."""
    first = embedded[0].name
    for other in embedded[1:]:
        for one, two in zip(results[first], results[other.name], strict=True):
            products = [items[i].product for i in one.protocol.queries]
            found = bootstrap.difference(
                one.figures[COMPARED_BY], two.figures[COMPARED_BY], products
            )
            yield (
                f"{one.protocol.name}: {first} is {found.mean:+.3f} against {other.name} in"
                f" {COMPARED_BY}, 95 % interval {found.low:+.3f} to {found.high:+.3f}"
                f"{'' if found.clear else ' (could be chance)'}"
            )
