"""Says how long to wait, for people."""

from __future__ import annotations

import math


def in_words(delay_s: float) -> str:
    """Return ``in 12 s``: whole seconds, rounded up, from 1 s on."""
    return f"in {math.ceil(delay_s)} s" if delay_s >= 1 else f"in {delay_s:.1g} s"
