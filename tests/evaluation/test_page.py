"""The page and the table of an evaluation, where names are odd."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from productsearch_engine.evaluation import baselines, measure, page, table
from productsearch_engine.evaluation.dataset import read
from productsearch_engine.evaluation.protocols import offered
from tests.pictures import draw


def test_misses_and_models_can_be_told_apart(tmp_path: Path) -> None:
    """Where each product's files have the same names, its folder is told; columns stay columns
    beside a model with a long name."""
    for number in range(6):
        file = tmp_path / "abc"[number // 2] / f"{number % 2}.jpg"
        file.parent.mkdir(exist_ok=True)
        draw(number, 60, 60).save(file)
    items = read(tmp_path)
    names = ("phash", "onnx:" + "long/" * 20)
    phash = baselines.named()["phash"]
    embedded = [
        replace(each, name=name)
        for each, name in zip(
            measure.embed_all([phash, phash], [item.path for item in items]), names, strict=True
        )
    ]
    results = {
        each.name: [measure.search(items, each, protocol) for protocol in offered(items)]
        for each in embedded
    }
    page.write(tmp_path / "index.html", [], items, embedded, results, None)
    told = (tmp_path / "index.html").read_text("utf-8")
    assert re.search(r"query: \d\.jpg of [abc]<br>1st, .*\d\.jpg of [abc]<br>rank", told)
    head, one, two, *_ = table.lines(items, embedded, results)
    assert 1 == len({len(line) for line in (head, one, two)})
