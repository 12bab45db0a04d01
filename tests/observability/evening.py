"""An incident evening: acts against real servers, and a real Prometheus that must name each.

Callers reach the facade through the real Envoy with the deployed configuration. Facade, engine and
PostgreSQL are real; a proxy between facade and engine misbehaves on demand. The
alerts are the product's own with their durations divided by 60, so that minutes are seconds. Each
act ends with a line: which causes fired, which should have, whom the facade's lines blame, what the
gateway's lines say, and which row of the decision table the dashboard's panels lead to.

``python -m tests.observability.evening [--stay] [ACT ...]``; needs Debian's prometheus.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from types import FrameType

from deploy.grafana.dashboard import dashboard
from tests.observability.evening_acts import ACTS, Act
from tests.observability.evening_callers import Load
from tests.observability.evening_prometheus import Prometheus
from tests.observability.evening_stage import Stage, set_up
from tests.observability.incidents import SIGNS, Series, Shown, Sign, fitting, queries

_SETTLE_S = 90
_ACT_S = 30
_RATES_OVER = "10s"


def _played(stage: Stage, load: Load, act: Act) -> bool:
    """Play an act; return whether everything is as it should be."""
    settled = _until(lambda: _is_calm(stage.prometheus), _SETTLE_S)
    calm_s, lines, flags_before = time.time(), len(stage.lines()), len(stage.flags())
    fired: set[str] = set()
    symptoms: set[str] = set()
    playing = act.play(stage, load)
    next(playing)
    began = time.monotonic()  # what it starts may take its time
    while time.monotonic() - began < _ACT_S:
        fired |= stage.prometheus.firing("cause")
        symptoms |= stage.prometheus.firing("symptom")
        time.sleep(0.5)
    signs = _signs(stage.prometheus, calm_s)
    blame = _most(
        str(line["blame"]) for line in stage.lines()[lines:] if line["blame"] not in ("none", "-")
    )
    flags = _most(stage.flags()[flags_before:])
    next(playing, None)
    found = fitting(signs)
    good = settled and fired == act.causes and (not act.blame or blame == act.blame)
    good = good and (not act.symptom or act.symptom in symptoms)
    good = good and (not act.flags or act.flags in flags.split(","))
    good = good and found == ([act.incident] if act.incident else [])
    print(
        f"{act.name}: {_names(fired)} (expected {_names(act.causes)}); "
        f"blame {blame or '-'} (expected {act.blame or 'any'}); "
        f"gateway {flags or '-'} (expected {act.flags or 'any'}); "
        f"symptoms {_names(symptoms)} (expected {act.symptom or 'any'}); "
        f"panels {_names(found)} (expected {act.incident or 'none'}) "
        f"{'ok' if good else 'short'}",
        flush=True,
    )
    print("    " + "; ".join(f"{sign.panel}: {sign.says}" for sign in SIGNS if sign in signs))
    return good


def _names(of: Iterable[str]) -> str:
    return ", ".join(sorted(of)) or "none"


def _most(of: Iterable[str]) -> str:
    return Counter(of).most_common(1)[0][0] if (of := [*of]) else ""


def _is_calm(prometheus: Prometheus) -> bool:
    """Whether nothing is left of the act before."""
    return not prometheus.firing("cause") and not _signs(prometheus, time.time())


def _signs(prometheus: Prometheus, calm_s: float) -> frozenset[Sign]:
    """Look at the panels, and at what they showed before the act."""

    def shown(panel: str, at_s: float | None) -> dict[str, Series]:
        return {
            legend: [
                (each["metric"], float(each["value"][1]))
                for each in prometheus.query(_filled(expression, _RATES_OVER), at_s)
            ]
            for legend, expression in queries(panel).items()
        }

    panels = {sign.panel for sign in SIGNS}
    seen = {panel: Shown(shown(panel, None), shown(panel, calm_s)) for panel in panels}
    return frozenset(sign for sign in SIGNS if sign.is_there(seen[sign.panel]))


def _filled(query: str, rates_over: str) -> str:
    """Put values for the dashboard's variables into a query; its hour is a minute here."""
    for name, value in (
        ("$__rate_interval", rates_over),
        ("$instance", ".*"),
        ("$library", ".*"),
        ("offset 1h", "offset 60s"),
    ):
        query = query.replace(name, value)
    return query


def _until(true: Callable[[], bool], within_s: float) -> bool:
    ends_s = time.monotonic() + within_s
    while not true():
        if time.monotonic() > ends_s:
            return False
        time.sleep(0.5)
    return True


def _dashboard_has_data(stage: Stage) -> bool:
    """Ask each query of the dashboard, over the whole evening."""
    empty = []
    asked = 0
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            asked += 1
            query = _filled(target["expr"], "1h")
            if not stage.prometheus.ever_had_data(query):
                empty.append(f"{panel['title']}: {query}")
    for each in empty:
        print(f"no data: {each}")
    verdict = "short" if empty else "ok"
    print(f"dashboard queries with data: {asked - len(empty)} (expected {asked}) {verdict}")
    return not empty


def _end(number: int, _: FrameType | None) -> None:
    """Leave all contexts, which end what they started; further signals do not cut that short."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    """Play the evening, or some acts of it."""
    # Both by name: a shell that starts it in the background has SIGINT ignored.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, _end)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("acts", nargs="*", metavar="ACT")
    parser.add_argument("--stay", action="store_true", help="keep everything up until Ctrl-C")
    asked = parser.parse_args()
    acts = [act for act in ACTS if not asked.acts or act.name in asked.acts]
    with set_up() as (stage, load):
        print(f"Prometheus: {stage.prometheus.url}/alerts; logs: {stage.folder}")
        good = [_played(stage, load, act) for act in acts]
        if not asked.acts:
            good.append(_dashboard_has_data(stage))
        if asked.stay:
            print("everything stays up until Ctrl-C")
            time.sleep(24 * 3600)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
