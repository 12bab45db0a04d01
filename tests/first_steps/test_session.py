"""The recorded sessions in the documents are what the command line prints today."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from demo import session
from demo.facade import Facade
from demo.processes import Engine

_QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
_VARIES = (
    (re.compile(r"^(seconds|answered_in_ms) +[\d.]+$", re.MULTILINE), r"\1 T"),
    (re.compile(r"0\.\d{3}\b"), "S"),
)
"""What another run or another machine's arithmetic changes: times, and digits of scores."""


def _lasting(text: str) -> str:
    for pattern, instead in _VARIES:
        text = pattern.sub(instead, text)
    return text


@pytest.mark.slow
@pytest.mark.parametrize("file", session.SESSIONS)
def test_the_document_shows_what_is_printed(file: str, engine: Engine) -> None:
    """Signatures, counts, tables, exit codes. `python -m demo session` records it anew."""
    pair = engine.create_library(f"session-{file.replace('/', '-')}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "shop"
        folder.mkdir()
        service = Path(scratch) / "service"
        with Facade(service, engine.url, {"default": pair}, environment=_QUICK) as facade:
            printed = session.recorded(file, folder, facade.url)
    assert _lasting(session.written(file)) == _lasting(printed)


@pytest.mark.parametrize("file", session.SESSIONS)
def test_every_line_fits_a_terminal(file: str) -> None:
    """No table is torn at 80 columns. Messages may be longer: the terminal breaks them."""
    tables = [line for line in session.written(file).splitlines() if line[:1] in "┏┃┡│└"]
    assert tables
    assert max(map(len, tables)) <= 80
