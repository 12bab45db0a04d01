"""The figures as lines of text: one table, and what the paired bootstrap says of differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from productsearch_engine.evaluation import bootstrap, reliability
from productsearch_engine.evaluation.dataset import Item
from productsearch_engine.evaluation.measure import Embedded, Result

COMPARED_BY = "recall@1"


def lines(
    items: Sequence[Item],
    embedded: Sequence[Embedded],
    results: Mapping[str, Sequence[Result]],
) -> list[str]:
    """Return the table; ``results`` has the results by the embedding's name."""
    return [*_table(embedded, results), *_differences(items, embedded, results)]


def _table(embedded: Sequence[Embedded], results: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    figures = list(results[embedded[0].name][0].figures)
    heads = "".join(f"{figure:>11}" for figure in figures) + "   error      ms   bytes"
    yield f"{'protocol':10} {'embedding':16} queries{heads}"
    for place in range(len(results[embedded[0].name])):
        for each in embedded:
            result = results[each.name][place]
            cosine, right = reliability.questions(result.answers)
            error = reliability.curve(each.score(cosine), right).error
            means = "".join(f"{result.mean(figure):11.3f}" for figure in figures)
            yield (
                f"{result.protocol.name:10} {each.name:16} {len(result.protocol.queries):7}{means}"
                f"  {error:6.3f}  {each.cost_ms:6.1f}  {each.image_bytes:6}"
            )
    yield "error: of the scores' calibration; ms: processor time for one image; bytes: of a vector"


def _differences(
    items: Sequence[Item],
    embedded: Sequence[Embedded],
    results: Mapping[str, Sequence[Result]],
) -> Iterator[str]:
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
