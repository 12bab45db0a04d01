"""The vendor's own SDKs through 33 calls and two outages, in each language that is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tests.engine.sdk.languages import LANGUAGES
from tests.soak.measures import Measure, at_least, equal


def measures() -> Iterator[Measure]:
    """Run the tests of the SDKs, each language by itself."""
    passed = 0
    for language in LANGUAGES:
        command = [sys.executable, "-m", "pytest", "-q", "tests/engine/sdk", "-k", language.name]
        passed += subprocess.run(command, check=False).returncode == 0
    yield equal("SDKs: languages that pass", passed, len(LANGUAGES))
    installed = len([language for language in LANGUAGES if not language.missing])
    yield at_least("SDKs: languages installed", installed, len(LANGUAGES))
