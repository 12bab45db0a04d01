"""The processes of ``fit``, seen from a test."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil


def worker_processes() -> list[psutil.Process]:
    """Return the processes of ``fit`` that this process has started and that are there."""
    found = []
    for process in psutil.Process().children():
        try:
            if "productsearch_service.images.worker" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def stop_workers() -> set[int]:
    """Make all that are there stand still, as a decoder does that never ends; return their ids."""
    stopped = {process.pid for process in worker_processes()}
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    return stopped


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def gone(pids: set[int], seconds: float = 10) -> bool:
    """Wait until none of these processes is there; return whether that came."""
    end_s = time.monotonic() + seconds
    while any(map(psutil.pid_exists, pids)):
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True
