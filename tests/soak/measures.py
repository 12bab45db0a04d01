"""What a soak came to: one line per measure against its bar, and an exit code.

A soak is a module here with ``run(size) -> list[Measure]`` and a ``FULL`` size; a test runs it
at a small size (``make test``), ``python -m tests.soak.<name>`` at full size (``make soak-...``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_RELATIONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A value and the bar it has to keep: ``relation`` is one of ``<=``, ``>=``, ``==``."""

    name: str
    value: float
    relation: str
    bar: float

    @property
    def kept(self) -> bool:
        """Whether the value keeps the bar."""
        return _RELATIONS[self.relation](self.value, self.bar)

    def __str__(self) -> str:
        verdict = "ok" if self.kept else "short"
        return f"{self.name}: {self.value:.6g} (bar {self.relation} {self.bar:g}) {verdict}"


def equal(name: str, value: float, bar: float) -> Measure:
    """Return a measure that has to be ``bar``."""
    return Measure(name=name, value=value, relation="==", bar=bar)


def at_most(name: str, value: float, bar: float) -> Measure:
    """Return a measure that has to be ``bar`` or less."""
    return Measure(name=name, value=value, relation="<=", bar=bar)


def at_least(name: str, value: float, bar: float) -> Measure:
    """Return a measure that has to be ``bar`` or more."""
    return Measure(name=name, value=value, relation=">=", bar=bar)


def report(measures: Sequence[Measure]) -> int:
    """Print a line for each measure; return 0 if there are some and all bars are kept."""
    for measure in measures:
        print(measure, flush=True)
    return 0 if measures and all(measure.kept for measure in measures) else 1


def assert_kept(measures: Sequence[Measure]) -> None:
    """Print all measures and fail on those that are short."""
    assert measures
    report(measures)
    short = [str(measure) for measure in measures if not measure.kept]
    assert not short, "\n".join(short)
