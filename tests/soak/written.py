"""What a facade writes of its calls beside the log, all of it on: spans of its own, audit lines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.observability.collector import Collector
from tests.soak.ears import Ears, hear_file
from tests.soak.secret_pieces import Pieces

SPANS: Final = "spans of calls"
AUDIT: Final = "audit"


@dataclass(frozen=True)
class Written:
    """Where a facade sends the spans of all its calls, and writes its audit stream."""

    collector: Collector
    audit_file: Path

    def settings(self) -> dict[str, Any]:
        """Return the settings that switch both on."""
        return {
            "traces_endpoint": self.collector.url,
            "traces_share": 1,
            "audit_file": self.audit_file,
        }

    def environment(self) -> dict[str, str]:
        """Return the same as variables."""
        return {f"PRODUCTSEARCH_{name.upper()}": str(it) for name, it in self.settings().items()}

    def hear(self, pieces: Pieces, ears: Ears) -> None:
        """Look through both; the facade has stopped."""
        for number, content in enumerate(self.collector.raw):
            ears.hear(SPANS, f"batch {number}", content.decode("latin-1"))
        ears.texts[SPANS] += len(self.collector.spans()) - len(self.collector.raw)
        hear_file(self.audit_file, AUDIT, pieces, ears)


@contextmanager
def everything_written() -> Iterator[Written]:
    """Yield where it goes."""
    with tempfile.TemporaryDirectory() as folder, Collector() as collector:
        yield Written(collector, Path(folder) / "audit.jsonl")
