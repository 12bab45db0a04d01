"""Runs shell commands in a pseudo-terminal and gives what a reader of the screen sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

_ROWS = 40
_REWRITTEN = re.compile(r".*\x1b\[K")
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(command: str, folder: Path, environment: Mapping[str, str], columns: int) -> str:
    """Return the lines that a command leaves on a terminal, and its exit code if it is not 0.

    Colours are left out, and lines of progress that were rewritten.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={**environment, "TERM": "xterm"},
        stdin=its,
        stdout=its,
        stderr=its,
    ) as process:
        os.close(its)
        raw = _read(ours)
    os.close(ours)
    lines = [_STYLE.sub("", _REWRITTEN.sub("", line)) for line in raw.split("\r\n")]
    text = "\n".join(line.rstrip() for line in lines).rstrip("\n")
    text = f"{text}\n" if text else ""
    return text + (f"[exit {process.returncode}]\n" if process.returncode else "")


def _read(terminal: int) -> str:
    """Return all that is written until the last program has closed its side."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says EIO at the end
            part = b""
        if not part:
            return b"".join(parts).decode("utf-8", "replace")
        parts.append(part)
