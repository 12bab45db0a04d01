"""What readers did wrong, told the first few times."""

from __future__ import annotations

from collections import Counter
from typing import Final

_EXAMPLES_MAX: Final = 5
_told: Final[Counter[str]] = Counter()


def tell(reader: str, line: str) -> None:
    """Print what a reader did wrong, the first times."""
    _told[reader] += 1
    if _told[reader] <= _EXAMPLES_MAX:
        print(f"{reader}: {line}"[:600])
