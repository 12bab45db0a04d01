"""The words for scores: the documents have the numbers that the console and the evaluation use."""

from __future__ import annotations

import re
from pathlib import Path

from productsearch_engine.embedding.calibration import SAME, SIMILAR

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_documents_have_the_numbers_of_the_words() -> None:
    """*same*, *similar* and *none* begin and end at the same scores on both pages."""
    table = (DOCS / "embeddings.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| \*(\w+)\* \| ([^|]+) \|", table, re.M))
    assert {
        "same": f"{SAME} and above",
        "similar": f"{SIMILAR} to {SAME}",
        "none": f"below {SIMILAR}",
    } == rows
    console = (DOCS / "console.md").read_text("utf-8")
    sentence = r"\*Same product\* stands for a score of (\S+) or more, \*similar\* for (\d\.\d+)"
    assert [(str(SAME), str(SIMILAR))] == re.findall(sentence, console)
