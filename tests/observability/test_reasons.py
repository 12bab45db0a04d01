"""Each ErrorReason has one blame, in the code and on the page that operators read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from productsearch import v1
from productsearch_service import errors

PAGE = Path(__file__).resolve().parents[2] / "docs/operating.md"
REASONS = [
    value.name.removeprefix("ERROR_REASON_")
    for value in v1.ErrorReason.DESCRIPTOR.values
    if value.number
]


def _rows() -> list[tuple[list[str], str]]:
    """Return the reasons and the blame of each row of the table of errors."""
    table = PAGE.read_text("utf-8").partition("## What an error means")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([A-Z_]+)`", row[0]), row[1]) for row in rows]


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_has_one_blame_and_one_row(reason: str) -> None:
    """Exactly one of the five, and the page says the same, once."""
    assert errors.blame_of(reason) in errors.BLAMES
    assert [errors.blame_of(reason)] == [blame for names, blame in _rows() if reason in names]


def test_the_page_names_no_other_reason() -> None:
    """What a row names can be met."""
    assert set(REASONS) == {name for names, _ in _rows() for name in names}
