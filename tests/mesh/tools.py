"""Programs written in Go that tests use, built once with the Go of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
BIN: Final = (
    Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "productsearch" / "bin"
)
"""Beside other caches of this user: building the programs takes minutes, also in a new clone."""
CHECKS: Final = Path(__file__).parent / "manifests"
"""Our own Go module that reads manifests with other people's types."""

PINNED: Final = Path(__file__).parents[1] / "go_tools"
"""The Go module that pins what callers use by hand, with hashes."""

_TOOLS: Final = {
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.8.0",
    "grpc-health-probe": "github.com/grpc-ecosystem/grpc-health-probe@v0.4.61",
}
_PINNED: Final = {
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl",
    "ghz": "github.com/bojand/ghz/cmd/ghz",
}


def need(program: str) -> None:
    """Skip the test if this machine lacks a program; in CI, which installs them all, fail it."""
    if shutil.which(program) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {program}")


@cache
def tool(name: str) -> str:
    """Return the path of a program, built if it is not there."""
    if name in _PINNED:
        program = BIN / name
        _go("build", "-o", str(program), _PINNED[name], cwd=PINNED)
        return str(program)
    version = _TOOLS[name].rpartition("@")[2]
    program = BIN / version / name
    if not program.exists():
        _go("install", _TOOLS[name], cwd=_ROOT, GOBIN=str(program.parent))
    return str(program)


def check(name: str) -> str:
    """Return the path of one of our own checks, built anew if it changed."""
    program = BIN / f"check-{name}"
    _go("build", "-o", str(program), f"./{name}", cwd=CHECKS)
    return str(program)


def _go(*arguments: str, cwd: Path, **environment: str) -> None:
    need("go")
    done = subprocess.run(
        ["go", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"go {' '.join(arguments)}:\n{done.stderr}")
