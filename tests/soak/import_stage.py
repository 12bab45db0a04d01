"""What the import soak stands on: an upstream, a facade process, the command line as a process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from demo.facade import Facade
from demo.processes import Engine
from tests.fakes.remembering_upstream import RememberingUpstream

_ADDS = re.compile(r'^[a-z_]*upstream_calls_total\{.*method="add".*\} ([0-9.e+]+)$', re.MULTILINE)


@dataclass
class Stage:
    """A facade before an upstream with an empty library."""

    facade: Facade
    upstream: Engine | RememberingUpstream
    environment: dict[str, str]

    def adds(self) -> int:
        """Return how many adds were sent to the upstream."""
        with urlopen(f"http://{self.facade.metrics}/metrics") as answer:
            text = answer.read().decode()
        return round(sum(map(float, _ADDS.findall(text))))

    def stored(self) -> int:
        """Return how many images the library holds."""
        if isinstance(self.upstream, RememberingUpstream):
            return len(self.upstream.stored)
        (library,) = json.loads(self.upstream.command("library", "list", "--json"))
        return int(library["image_count"])

    def start(self, *arguments: str | Path, log: Path) -> subprocess.Popen[bytes]:
        """Begin a command; what it says goes to ``log``."""
        with log.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "productsearch.cli", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=self.environment,
            )

    def run(self, *arguments: str | Path) -> tuple[int, list[Any], str]:
        """Run a command; return exit code, the JSON that it printed and what it said beside."""
        done = subprocess.run(
            [sys.executable, "-m", "productsearch.cli", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environment,
        )
        try:
            rows = [json.loads(line) for line in done.stdout.splitlines()]
        except ValueError:
            raise AssertionError(done.stdout + done.stderr) from None
        return done.returncode, rows, done.stderr


@contextmanager
def stage(folder: Path, *, real: bool, quota_qps: int, delay_s: float = 0.0) -> Iterator[Stage]:
    """Start upstream (the engine if ``real``) and facade; stop them at the end."""
    with ExitStack() as stack:
        upstream: Engine | RememberingUpstream
        if real:
            upstream = stack.enter_context(Engine(folder / "engine"))
            pair = upstream.create_library("default")
        else:
            upstream = stack.enter_context(RememberingUpstream(delay_s=delay_s))
            pair = ("the-api-key", "the-secret-key")
        settings = {
            "PRODUCTSEARCH_DRAIN_DELAY_S": "0",
            "PRODUCTSEARCH_LIBRARIES__DEFAULT__QUOTA_QPS": str(quota_qps),
        }
        facade = Facade(folder / "service", upstream.url, {"default": pair}, environment=settings)
        stack.enter_context(facade)
        environment = {
            **os.environ,
            "PRODUCTSEARCH_CLI_TARGET": facade.url,
            "PRODUCTSEARCH_CLI_CONFIG": str(folder / "config.toml"),
        }
        yield Stage(facade, upstream, environment)
