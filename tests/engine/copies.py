"""Engines of a test's own, on copies of one data directory.

initdb and the migrations run once for all of them. What is copied is the data directory of a
PostgreSQL that was stopped, so each copy is a whole server with files of its own: a test may
kill it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.processes import Engine


@dataclass(frozen=True, kw_only=True)
class Template:
    """A stopped engine's data directory with one empty library, ``kept``."""

    data: Path
    keys: tuple[str, str]
    """API key and secret key of the library."""


@contextmanager
def made_template() -> Iterator[Template]:
    """Yield a template, made by a real engine that was stopped."""
    with Engine() as engine:
        keys = engine.create_library("kept")
        engine.stop()
        yield Template(data=engine.data, keys=keys)


@contextmanager
def copied(
    template: Template, *, below: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Engine]:
    """Yield a running engine on a copy, in a temporary folder or a path below it."""
    folder = Path(tempfile.mkdtemp(prefix="productsearch-"))
    try:
        data = folder / below
        data.mkdir(parents=True, exist_ok=True)
        # cp keeps the owner of the files: as root PostgreSQL has an account of its own.
        subprocess.run(["cp", "-a", template.data / "postgres", data], check=True)
        with Engine(data, environment=environment) as engine:
            yield engine
    finally:
        shutil.rmtree(folder)
