"""Writes the dashboard from the table of its panels: ``python -m deploy.grafana.dashboard``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from deploy.grafana.panel import Panel
from deploy.grafana.panels import ROWS

FILE: Final = Path(__file__).parent / "dashboards" / "productsearch.json"
_WIDTH: Final = 24
_PANEL_WIDTH: Final = 6
_PANEL_HEIGHT: Final = 7
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
        panels.append(_numbered(panels, {"type": "row", "title": title, "gridPos": place}))
        top += 1
        for at, panel in enumerate(row):
            across, down = at % (_WIDTH // _PANEL_WIDTH), at // (_WIDTH // _PANEL_WIDTH)
            place = {
                "x": across * _PANEL_WIDTH,
                "y": top + down * _PANEL_HEIGHT,
                "w": _PANEL_WIDTH,
                "h": _PANEL_HEIGHT,
            }
            panels.append(_numbered(panels, _graph(panel, place)))
        top += -(-len(row) // (_WIDTH // _PANEL_WIDTH)) * _PANEL_HEIGHT
    return {
        "uid": "productsearch",
        "title": "ProductSearch",
        "description": "Written by deploy/grafana/dashboard.py. What to do: docs/operating.md.",
        "tags": ["productsearch"],
        "schemaVersion": 41,
        "version": 2,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "panels": panels,
        "templating": {"list": _variables()},
        "annotations": {"list": [_firing()]},
    }


def _numbered(panels: list[dict[str, Any]], panel: dict[str, Any]) -> dict[str, Any]:
    return {"id": len(panels) + 1} | panel


def _graph(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.most is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.most}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            _target(chr(ord("A") + number), query, legend)
            for number, (query, legend) in enumerate(panel.queries)
        ],
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _target(name: str, query: str, legend: str) -> dict[str, Any]:
    target = {"refId": name, "expr": query, "legendFormat": legend}
    # Buckets of times have the trace of a call that fell into them.
    return target | {"exemplar": True} if "_bucket" in query else target


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}
    chosen = [
        ("instance", "Replica", "label_values(productsearch_ready, instance)"),
        ("library", "Library", "label_values(productsearch_library_ready, library)"),
    ]
    return [source] + [
        {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }
        for name, label, query in chosen
    ]


def _firing() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing",kind="cause"}',
        "titleFormat": "{{alertname}}",
    }


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(dashboard(), indent=1) + "\n")


if __name__ == "__main__":
    main()
