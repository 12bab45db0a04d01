"""Writes the alerting rules from the table: ``python -m deploy.prometheus.alerts``.

``--divide 60`` prints rules whose minutes are seconds, so that a trial evening takes minutes.
``--runbooks URL`` prints rules whose runbooks are at another address than the repository's page.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.prometheus.table import (
    ALERTS,
    BAD_CALLS_MIN,
    OBJECTIVES,
    WINDOWS,
    Objective,
    Window,
)

FILE: Final = Path(__file__).with_name("alerts.yml")
_HEAD: Final = "# Written by deploy/prometheus/alerts.py from table.py: `make monitoring`.\n"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"<(\d+)([smhd])>")
_PAGE: Final = "docs/operating.md"
_BUDGET_DAYS: Final = 30


def rules(divide: int = 1, runbooks: str = _PAGE) -> dict[str, Any]:
    """Return the rules as Prometheus reads them, with all durations divided.

    ``runbooks`` is the address of the page that each alert has a row on.
    """
    budgets = [_burn(each, window, divide, runbooks) for each in OBJECTIVES for window in WINDOWS]
    causes = [
        {
            "alert": each.name,
            "expr": _scaled(each.expr, divide),
            "for": _scaled(each.lasts, divide),
            "labels": {"severity": each.severity, "kind": "cause"},
            "annotations": {"summary": each.says, "runbook": f"{runbooks}#{each.name.lower()}"},
        }
        for each in ALERTS
    ]
    return {
        "groups": [
            {"name": "productsearch-budgets", "rules": budgets},
            {"name": "productsearch-causes", "rules": causes},
        ]
    }


def _burn(objective: Objective, window: Window, divide: int, runbooks: str) -> dict[str, Any]:
    threshold = f"{window.rate * objective.budget:.6g}"
    both = " and ".join(
        f"({objective.bad.replace('<window>', length)}) > {threshold}"
        for length in (window.long, window.short)
    )
    both += f" and ({objective.count.replace('<window>', window.long)}) >= {BAD_CALLS_MIN}"
    days = f"{_BUDGET_DAYS / window.rate:.0f} days"
    rate = f"what is allowed in {_BUDGET_DAYS} days would be used up in {days}"
    long = window.long.strip("<>")
    most = _scaled(objective.most.replace("<window>", window.short), divide)
    named = (
        f"{{{{ range query `{most}` }}}}; most by library {{{{ .Labels.library }}}}{{{{ end }}}}"
    )
    return {
        "alert": objective.name,
        "expr": _scaled(both, divide),
        "labels": {"severity": window.severity, "kind": "symptom", "window": long},
        "annotations": {
            "summary": f"{objective.says}: {rate}, as seen over {long}{named}",
            "runbook": f"{runbooks}#{objective.name.lower()}",
        },
    }


def _scaled(text: str, divide: int) -> str:
    def scaled(found: re.Match[str]) -> str:
        seconds = int(found[1]) * _SECONDS[found[2]]
        return f"{found[1]}{found[2]}" if divide == 1 else f"{max(1, seconds // divide)}s"

    return _DURATION.sub(scaled, text)


def text(divide: int = 1, runbooks: str = _PAGE) -> str:
    """Return the file of the rules."""
    return _HEAD + str(yaml.safe_dump(rules(divide, runbooks), sort_keys=False, width=100))


def main() -> None:
    """Write the rules beside this file, or changed ones to stdout."""
    parser = argparse.ArgumentParser(description="Write the alerting rules.")
    parser.add_argument("--divide", type=int, help="print rules of shorter durations")
    parser.add_argument("--runbooks", metavar="URL", help="print rules with runbooks there")
    asked = parser.parse_args()
    if asked.divide or asked.runbooks:
        sys.stdout.write(text(asked.divide or 1, asked.runbooks or _PAGE))
    else:
        FILE.write_text(text())


if __name__ == "__main__":
    main()
