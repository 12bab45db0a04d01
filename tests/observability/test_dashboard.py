"""The dashboard: written by its script, and nothing on it is empty, nameless or made up."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana import dashboard

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operating.md").read_text("utf-8")
MADE: dict[str, Any] = dashboard.dashboard()
GRAPHS = [panel for panel in MADE["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in GRAPHS for target in panel["targets"]]
UNITS = {"reqps", "s", "short", "percentunit", "bytes", "d"}


def test_the_file_is_what_the_script_writes() -> None:
    """`make monitoring` was run after the last change."""
    assert MADE == json.loads(dashboard.FILE.read_text())


@pytest.mark.parametrize("panel", GRAPHS, ids=lambda panel: panel["title"])
def test_each_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """A title, a sentence, a unit that Grafana knows, queries with legends."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len({*letters})
    assert all(target["legendFormat"] for target in panel["targets"])


def test_titles_and_numbers_are_unique() -> None:
    """A title is found by search; a number is a link."""
    for of in ("title", "id"):
        found = [panel[of] for panel in MADE["panels"]]
        assert len(found) == len({*found})


def test_panels_do_not_overlap() -> None:
    """Nor do they leave the grid."""
    places = [panel["gridPos"] for panel in MADE["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_each_row_has_panels() -> None:
    """Golden signals first."""
    kinds = [panel["type"] for panel in MADE["panels"]]
    assert "row" == kinds[0]
    assert "Golden" in MADE["panels"][0]["title"]
    assert all(
        after != "row"
        for kind, after in zip(kinds, [*kinds[1:], "row"], strict=True)
        if kind == "row"
    )


def test_variables_are_used_and_defined() -> None:
    """Those of Grafana's own aside."""
    defined = {variable["name"] for variable in MADE["templating"]["list"]}
    used = {*re.findall(r"\$\{?([a-z]+)\b", json.dumps(MADE["panels"]))}
    assert defined == used


def test_every_metric_exists() -> None:
    """On the page that the metrics themselves are held to, or of the process, or of Envoy."""
    tables = PAGE.partition("\n## Metrics")[2].partition("\n## ")[0].partition("### The engine's")
    exist = {
        prefix + name + part
        for table, prefix in ((tables[0], "productsearch_"), (tables[2], "productsearch_engine_"))
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])
        for part in ("", "_bucket", "_sum", "_count")
    }
    exist |= {name.removeprefix("productsearch_") for name in exist if "rpc_server_call" in name}
    asked = {
        name
        for query in QUERIES
        for name in re.findall(r"\b(?:productsearch|rpc_server|process|envoy)_[a-z0-9_]+", query)
    }
    assert len(asked) > 35
    ours = {name for name in asked if not name.startswith(("process_", "envoy_"))}
    assert set() == ours - exist
