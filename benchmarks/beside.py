"""Callers of ``tests.abuse`` in processes of their own: one that searches, and its neighbours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from demo.processes import Server


class Beside:
    """A process that searches all along, one search after the other; a context."""

    def __init__(self, server: Server, token: str) -> None:
        self._process = _process("tests.abuse.beside", server.url, f"--token={token}")

    def told(self) -> dict[str, Any]:
        """Return what came of its searches since the last time; times are sorted."""
        _write(self._process)
        return cast("dict[str, Any]", json.loads(_line(self._process)))

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


@dataclass(frozen=True)
class Sender:
    """A process that is connected, and begins its calls when it is told to."""

    process: subprocess.Popen[str]

    def begin(self) -> None:
        """Have it begin; return when the heads of its calls are on the way."""
        _write(self.process)
        _read(self.process, "begun")

    def end(self) -> None:
        """Wait for the calls that send something; end those that are silent."""
        self.process.communicate()


@contextmanager
def sender(server: Server, path: str, *arguments: str) -> Iterator[Sender]:
    """Start a process of ``tests.abuse.silent``; yield it once it is connected."""
    process = _process("tests.abuse.silent", server.url, path, *arguments)
    try:
        _read(process, "connected")
        yield Sender(process)
    finally:
        if process.poll() is None:
            process.communicate()


def at(ordered: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the sorted values do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _process(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str]) -> str:
    return cast("IO[str]", process.stdout).readline()


def _read(process: subprocess.Popen[str], expected: str) -> None:
    if (line := _line(process).strip()) != expected:
        raise AssertionError(f"the caller said {line!r}, not {expected}")


def _write(process: subprocess.Popen[str]) -> None:
    stream = cast("IO[str]", process.stdin)
    stream.write("\n")
    stream.flush()
