"""Writes what an import does as NDJSON, for programs; its schema is ``events.schema.json``."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from productsearch.cli.failures import usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from productsearch.cli.journal import Row

SCHEMA = Path(__file__).with_name("events.schema.json")


class Events:
    """One line for each event; without a file nothing is written."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file

    def tell(self, event: str, **fields: Any) -> None:
        """Write an event, at once."""
        if self._file is None:
            return
        told = {"event": event, "time": round(time.time(), 3), **fields}
        self._file.write(json.dumps(told, ensure_ascii=False) + "\n")
        self._file.flush()

    def item(self, row: Row) -> None:
        """Write what became of an entry."""
        told = {
            "key": row.key,
            "state": row.state,
            "cont_sign": row.cont_sign,
            "outcome": row.outcome,
            "reason": row.reason,
            "message": row.message,
            "log_id": row.log_id,
        }
        self.tell("item", **{name: value for name, value in told.items() if value})


@contextmanager
def opened(name: str | None) -> Iterator[Events]:
    """Open the file for events; ``-`` is stdout, None none. Raises Failure."""
    if name is None or name == "-":
        yield Events(sys.stdout if name else None)
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(Path(name).open("a", encoding="utf-8", errors="replace"))
        except OSError as wrong:
            step = "name a file that can be written, or - for stdout"
            raise usage(f"--events {name}: {wrong.strerror}", step) from None
        yield Events(file)
