"""Two charts of a run: each measure against its bar, and the cost of a call against load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from tests.soak.measures import Measure

mpl.use("agg")


def draw_measures(measures: Sequence[Measure], file: Path) -> None:
    """Draw how much of its bar each measure uses: left of 1 is kept."""
    used = [m.value / m.bar if m.relation == "<=" else m.bar / m.value for m in measures]
    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.35 * len(measures)), layout="constrained")
    colours = ["tab:blue" if measure.kept else "tab:red" for measure in measures]
    bars = axes.barh([measure.name for measure in measures], used, color=colours)
    axes.bar_label(bars, [f"{m.value:.3g} ({m.relation} {m.bar:g})" for m in measures], padding=4)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xlabel="part of the bar that is used", xlim=(0, 1.35 * max(1.0, *used)))
    axes.invert_yaxis()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def draw_load(sizes: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Draw CPU per call, and calls a second, against the number of callers."""
    figure, (cost, rate) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for size, points in sizes.items():
        cpu_us = [s * 1e6 for s in points["cpu_seconds"]]
        floor_us = [s * 1e6 for s in points["floor_cpu_seconds"]]
        (line,) = cost.plot(points["callers"], cpu_us, "o-", label=size)
        colour, label = line.get_color(), f"{size}, an RPC that encodes and posts"
        cost.plot(points["floor_callers"], floor_us, "o--", color=colour, label=label)
        rate.plot(points["callers"], points["per_s"], "o-", label=size)
    for axes, label in ((cost, "CPU for one call [us]"), (rate, "calls/s")):
        axes.set(xscale="log", xlabel="callers", ylabel=label, ylim=(0, None))
        axes.legend()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
