"""How long a process has run already, with the start of its interpreter and what it imported."""

from __future__ import annotations

import os
import time
from pathlib import Path


def of_process_s(process: int) -> float:
    """Return the seconds since a process began; 0 where the kernel does not tell."""
    try:
        told = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
        began_s = int(told[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began_s)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
