"""What a measure found: a table, the lines that have bars, and numbers for JSON and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.soak.measures import Measure


@dataclass(kw_only=True)
class Findings:
    """One measure's result. ``rows`` begin with the heads; ``numbers`` go into the JSON."""

    title: str
    rows: Sequence[Sequence[str]]
    measures: list[Measure]
    numbers: dict[str, Any] = field(default_factory=dict)

    def table(self) -> str:
        """Return the rows as a Markdown table, aligned for the terminal."""
        columns = list(zip(*self.rows, strict=True))
        widths = [max(map(len, column)) for column in columns]
        lines = [_line(row, widths) for row in self.rows]
        rule = "|".join("-" * (width + 2) for width in widths)
        return "\n".join([f"### {self.title}", "", lines[0], f"|{rule}|", *lines[1:]])


def at_least(name: str, value: float, bar: float) -> Measure:
    """Return a measure that must not be below its bar."""
    return Measure(name=name, value=value, relation=">=", bar=bar)


def at_most(name: str, value: float, bar: float) -> Measure:
    """Return a measure that must not be above its bar."""
    return Measure(name=name, value=value, relation="<=", bar=bar)


def microseconds(seconds: float) -> str:
    """Return seconds as a cell of a table."""
    return f"{seconds * 1e6:,.0f} us"


def milliseconds(seconds: float) -> str:
    """Return seconds as a cell of a table."""
    return f"{seconds * 1e3:,.2f} ms"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"
