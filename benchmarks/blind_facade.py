"""The facade with counters and access lines that do nothing: what a call costs that nobody sees.

The service has no such setting; a measure needs it to compare with.
"""

from __future__ import annotations

import sys
from typing import Any

from productsearch_service import cli
from productsearch_service.counters import Batch, LibraryCounters


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _main() -> int:
    for kind, names in (
        (Batch, ("add",)),
        (LibraryCounters, ("retry", "breaker_refused", "token")),
    ):
        for name in names:
            if not callable(getattr(kind, name)):
                raise TypeError(f"{kind.__name__}.{name} is no method")
            setattr(kind, name, _nothing)
    return cli.main()


if __name__ == "__main__":
    sys.exit(_main())
