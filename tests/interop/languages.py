"""The languages of the matrix: what each needs installed, and how its runner is made and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_HERE: Final = Path(__file__).parent
_BUILD_S: Final = 900

ALL_KINDS: Final = frozenset({"unary", "pages", "bulk", "bulk_cancel", "bulk_drain", "keepalive"})


class RunnerMissing(Exception):
    """A runner that cannot run; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language. ``builds`` are commands with their folders; ``command`` starts the runner."""

    name: str
    toolchain: tuple[str, ...] = ()
    source: Path
    builds: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    command: Callable[[], tuple[str, ...]]
    kinds: frozenset[str] = ALL_KINDS

    @property
    def absent_tools(self) -> list[str]:
        """Programs of the toolchain that this machine does not have."""
        return [program for program in self.toolchain if shutil.which(program) is None]

    def build(self) -> tuple[str, ...]:
        """Build the runner and return the command that takes PLAN and REPORT.

        Raises RunnerMissing.
        """
        if not self.source.exists():
            raise RunnerMissing(f"there is no {self.source.relative_to(ROOT)}")
        for folder, command in self.builds:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_BUILD_S
            )
            if done.returncode:
                said = (done.stdout + done.stderr).strip()[-2000:]
                raise RunnerMissing(f"`{' '.join(command)}` failed:\n{said}")
        return self.command()


def _python(*options: str) -> Callable[[], tuple[str, ...]]:
    return lambda: (sys.executable, str(_HERE / "run_python.py"), *options)


_GO: Final = ROOT / "clients/go"
_GO_RUNNER: Final = ROOT / "build/interop/runner-go"
_JAVA: Final = ROOT / "clients/java"
_NODE: Final = _HERE / "node"


def _java() -> tuple[str, ...]:
    target = _JAVA / "target"
    paths = (
        (target / "interop.classpath").read_text("utf-8").strip(),
        str(target / "classes"),
        str(target / "test-classes"),
    )
    return ("java", "-cp", os.pathsep.join(paths), "com.productsearch.interop.Main")


LANGUAGES: Final = (
    Language(name="python", source=_HERE / "run_python.py", command=_python()),
    Language(name="asyncio", source=_HERE / "run_python.py", command=_python("--asyncio")),
    Language(
        name="go",
        toolchain=("go",),
        source=_GO / "internal/interop",
        builds=((_GO, ("go", "build", "-o", str(_GO_RUNNER), "./internal/interop")),),
        command=lambda: (str(_GO_RUNNER),),
    ),
    Language(
        name="java",
        toolchain=("mvn", "java"),
        source=_JAVA / "src/test/java/com/productsearch/interop/Main.java",
        builds=((_JAVA, ("mvn", "-q", "-DskipTests", "-Dmaven.javadoc.skip", "package")),),
        command=_java,
    ),
    Language(
        name="node",
        toolchain=("node", "npm"),
        source=_NODE / "run.js",
        builds=((_NODE, ("npm", "ci", "--silent")),),
        command=lambda: ("node", str(_NODE / "run.js")),
    ),
)
