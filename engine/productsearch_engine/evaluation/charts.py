"""Draws the charts of a report with matplotlib, which is an extra: ``[evaluate]``."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from productsearch_engine.evaluation import reliability
from productsearch_engine.evaluation.measure import SCORE_BINS, Embedded, Result

_DOTS_AN_INCH = 110
_NAME_MAX = 32  # characters of a name beside which the title has room
_SAME, _DIFFERENT = "#1b6ca8", "#c8642b"


def are_possible() -> bool:
    """Return whether matplotlib is installed and can be imported."""
    try:
        from matplotlib.backends import backend_agg  # noqa: F401 - to see that it can be
    except ImportError:
        return False
    return True


def drawn(embedded: Sequence[Embedded], results: Mapping[str, Sequence[Result]]) -> bytes:
    """Return one PNG: scores of same and different, and the reliability curve, of each embedding.

    ``results`` has the results by the embedding's name.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.8 * len(embedded)), layout="constrained")
    FigureCanvasAgg(figure)
    panes = figure.subplots(len(embedded), 2, squeeze=False)
    for row, each in zip(panes, embedded, strict=True):
        _scores(row[0], each.name, results[each.name])
        _reliability(row[1], each, results[each.name])
    file = io.BytesIO()
    figure.savefig(file, dpi=_DOTS_AN_INCH)
    return file.getvalue()


def _scores(pane: Any, name: str, results: Sequence[Result]) -> None:
    edges = np.linspace(0, 1, SCORE_BINS + 1)
    same = _density(sum(result.same for result in results))
    different = _density(sum(result.different for result in results))
    pane.stairs(different, edges, fill=True, color=_DIFFERENT, alpha=0.6, label="different")
    pane.stairs(same, edges, linewidth=2, color=_SAME, label="same")
    _name(pane, f"{_short(name)}: scores of two images")
    pane.set(xlabel="score", ylabel="density")
    pane.legend()


def _density(counts: Any) -> Any:
    return counts * SCORE_BINS / max(int(np.sum(counts)), 1)


def _name(pane: Any, title: str) -> None:
    # A path may have dollars in it, between which matplotlib reads a formula.
    pane.set_title(title, fontsize="medium", parse_math=False)


def _short(name: str) -> str:
    """Return the end of a long name, which tells models of one folder apart."""
    return name if len(name) <= _NAME_MAX else "…" + name[1 - _NAME_MAX :]


def _reliability(pane: Any, each: Embedded, results: Sequence[Result]) -> None:
    for result, marker in zip(results, "osv^D", strict=False):
        cosine, right = reliability.questions(result.answers)
        drawn = reliability.curve(each.score(cosine), right)
        label = f"{result.protocol.name}, error {drawn.error:.3f}"
        pane.plot(drawn.score, drawn.right, marker=marker, label=label, clip_on=False)
    pane.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    _name(pane, f"{_short(each.name)}: what a score is worth")
    pane.set(
        xlabel="score of the first hit",
        ylabel="share of right ones",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    pane.legend(fontsize="small")
