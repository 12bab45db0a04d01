"""What the user asks of an import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``on_duplicate`` is keep, update or reject. Times are in seconds; 0: no limit."""

    library: str = ""
    fit: bool = False
    on_duplicate: str = "keep"
    dry_run: bool = False
    fetch: bool = False
    retry_rejected: bool = False
    check: bool = False
    """Whether the library is asked for each image that the journal says is there."""
    at_once: int = 8
    time_limit_s: float = 0.0
    patience_s: float = 300.0
    call_timeout_s: float = 60.0
    rejects: Path | None = None
    class_templates: tuple[tuple[str, str], ...] = ()
    """Fields of class ids and the templates that the user gave for them."""
