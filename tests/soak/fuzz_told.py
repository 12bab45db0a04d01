"""What readers did wrong, told the first few times, and the bars of the fuzz soak."""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.soak.measures import Measure

_EXAMPLES_MAX: Final = 5
_told: Final[Counter[str]] = Counter()


def tell(reader: str, line: str) -> None:
    """Print what a reader did wrong, the first times."""
    _told[reader] += 1
    if _told[reader] <= _EXAMPLES_MAX:
        print(f"{reader}: {line}"[:600])


def none(name: str, value: float) -> Measure:
    return Measure(name=name, value=value, relation="==", bar=0)


def at_least(name: str, value: float, bar: float) -> Measure:
    return Measure(name=name, value=value, relation=">=", bar=bar)
