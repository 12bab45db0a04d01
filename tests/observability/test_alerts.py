"""The alerts: written from one table, one for each reason or none, each seen to fire and not to."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.prometheus import alerts
from deploy.prometheus.table import ALERTS, OBJECTIVES, WINDOWS, WITHOUT, Alert, Objective
from productsearch import v1
from productsearch_service import errors
from tests.mesh.tools import need
from tests.observability.alert_cases import CASES, TOGETHER
from tests.observability.alert_series import ASKED, STEPS, Series

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operating.md").read_text("utf-8")
OBJECTIVES_PAGE = (ROOT / "docs/reliability.md").read_text("utf-8")
REASONS = [
    value.name.removeprefix("ERROR_REASON_")
    for value in v1.ErrorReason.DESCRIPTOR.values
    if value.number
]


def test_the_rules_are_those_of_the_table() -> None:
    """`make monitoring` was run after the last change."""
    assert alerts.text() == alerts.FILE.read_text()


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_has_one_blame_one_section_and_one_alert_or_none(reason: str) -> None:
    """The page's section says blame and alert as the code and the table do, and what to do."""
    assert errors.blame_of(reason) in errors.BLAMES
    found = [each.name for each in ALERTS if reason in each.reasons]
    assert (reason in WITHOUT) == (found == [])
    assert len(found) <= 1
    sections = re.findall(rf"^### `{reason}`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert 1 == len(sections)
    alert = f"alert `{found[0]}`" if found else "alert none"
    assert f"Blame {errors.blame_of(reason)}, {alert}." in sections[0]
    for part in ("**Means**", "**Look at**", "**Do**"):
        assert part in sections[0]


def test_the_page_has_no_section_of_another_reason() -> None:
    """What it names can be met."""
    assert {*REASONS} == {*re.findall(r"^### `([A-Z_]+)`$", PAGE, re.MULTILINE)}


def test_each_alert_has_a_row_on_the_page() -> None:
    """Its runbook's link leads there; there are no others."""
    table = PAGE.partition("\n## Alerts")[2].partition("\n## ")[0]
    told = re.findall(r"^\| <a id=\"([a-z]+)\"></a>`([A-Za-z]+)` \|", table, re.MULTILINE)
    names = [each.name for each in (*OBJECTIVES, *ALERTS)]
    assert sorted((name.lower(), name) for name in names) == sorted(told)


def test_the_objectives_are_documented() -> None:
    """With their budgets, on the page of what is promised."""
    for each in OBJECTIVES:
        assert f"| `{each.name}` |" in OBJECTIVES_PAGE
        assert f"{100 * each.budget:g} %" in OBJECTIVES_PAGE


def test_short_windows_keep_their_proportions() -> None:
    """Divided by 60, minutes are seconds and nothing else changes."""
    true, short = alerts.rules(), alerts.rules(60)
    one_hour = next(
        rule for rule in short["groups"][0]["rules"] if rule["labels"]["window"] == "1h"
    )
    assert "[60s]" in one_hour["expr"]
    assert "[5s]" in one_hour["expr"]
    strip = re.compile(r"\d+[smhd]\b")
    for before, after in zip(true["groups"], short["groups"], strict=True):
        for rule, other in zip(before["rules"], after["rules"], strict=True):
            assert strip.sub("", rule["expr"]) == strip.sub("", other["expr"])


def test_runbooks_lead_to_the_page_or_to_a_copy_of_it() -> None:
    """Each rule's, at the address that is given."""
    for base in ("docs/operating.md", "https://docs.example/operating"):
        told = alerts.rules(runbooks=base)
        for rule in (each for group in told["groups"] for each in group["rules"]):
            assert f"{base}#{rule['alert'].lower()}" == rule["annotations"]["runbook"]
    assert alerts.rules() == alerts.rules(runbooks="docs/operating.md")


def test_there_is_a_case_for_each_alert() -> None:
    """And none for what is no alert."""
    assert {each.name for each in ALERTS} == {*CASES}


def _tested(tmp_path: Path, cases: list[dict[str, Any]], every: str) -> None:
    """Let promtool compare what fires with what should."""
    need("promtool")  # Debian: prometheus
    shutil.copy(alerts.FILE, tmp_path / "alerts.yml")
    told = {"rule_files": ["alerts.yml"], "evaluation_interval": every, "tests": cases}
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(told))
    done = subprocess.run(
        ["promtool", "test", "rules", "cases.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def _case(name: str, series: Series, step: str, at: str, fire: dict[str, int]) -> dict[str, Any]:
    """Return a test that at this time these alerts fire, so often, and no other."""
    samples = [
        {"labels": f'{{alertname="{alert}"}}', "value": count} for alert, count in fire.items()
    ]
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    series = {ASKED: f"1x{STEPS}"} | series
    return {
        "name": name,
        "interval": step,
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": at, "exp_samples": samples}],
    }


@pytest.mark.slow
def test_each_cause_fires_alone_and_is_silent_nearby(tmp_path: Path) -> None:
    """In the firing case that alert and no other, in the silent one none at all."""
    at = f"{STEPS * 30 - 60}s"
    cases = []
    for name, case in CASES.items():
        cases.append(_case(f"{name} fires", case.fires, "30s", at, {name: 1}))
        cases.append(_case(f"{name} is silent", case.silent, "30s", at, {}))
    _tested(tmp_path, cases, "1m")


@pytest.mark.slow
def test_one_incident_fires_one_alert(tmp_path: Path) -> None:
    """What an incident leaves behind is none of its own, unless it is another library's."""
    at = f"{STEPS * 30 - 60}s"
    _tested(
        tmp_path,
        [_case(name, series, "30s", at, fire) for name, (series, fire) in TOGETHER.items()],
        "1m",
    )


@pytest.mark.parametrize("each", ALERTS, ids=lambda each: each.name)
def test_a_cause_names_what_it_is_about(each: Alert) -> None:
    """The library, caller, instance or file, which its expression keeps as a label."""
    named = re.findall(r"\$labels\.(\w+)", each.says)
    assert named
    for label in named:
        keeps = re.search(rf"by \([^)]*\b{label}\b", each.expr)
        # A metric as it is has all of its labels.
        assert keeps or (label == "instance" and " by (" not in each.expr), label


@pytest.mark.slow
def test_a_budget_names_the_library_that_burns_it(tmp_path: Path) -> None:
    """Of two upstreams one fails; the summary says whose."""
    objective = next(each for each in OBJECTIVES if each.name == "BudgetOfUpstream")
    series = _burning(objective, 16 * objective.budget)
    series = {
        name.replace('reason="OTHER"', 'reason="OTHER",library="tiny"'): values
        for name, values in series.items()
    }
    series['productsearch_errors_total{reason="O",blame="upstream",library="big"}'] = "0+0.1x2200"
    said = []
    for window in WINDOWS:
        long = window.long.strip("<>")
        days = f"{30 / window.rate:.0f} days"
        rate = f"what is allowed in 30 days would be used up in {days}, as seen over {long}"
        labels = {"severity": window.severity, "kind": "symptom", "window": long}
        summary = f"{objective.says}: {rate}; most by library tiny"
        told = {"summary": summary, "runbook": "docs/operating.md#budgetofupstream"}
        said.append({"exp_labels": labels, "exp_annotations": told})
    case = {
        "interval": "2m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": [{"eval_time": "40m", "alertname": objective.name, "exp_alerts": said}],
    }
    _tested(tmp_path, [case], "10m")


def _burning(objective: Objective, share: float) -> Series:
    """Return three days of a thousand calls in two minutes, this share of them bad."""
    steps = 2200
    labels = '{rpc_method="productsearch.v1.ProductSearch/SearchImages"'
    name = "rpc_server_call_duration_seconds"
    series = {f"{name}_count{labels}}}": f"0+1000x{steps}"}
    bad, good = 1000 * share, 1000 * (1 - share)
    is_time = objective.name == "BudgetOfTime"
    series[f'{name}_bucket{labels},le="2.5"}}'] = f"0+{good if is_time else 1000:.6f}x{steps}"
    if not is_time:
        blame = objective.name.removeprefix("BudgetOf").lower()
        error = f'productsearch_errors_total{{reason="OTHER",blame="{blame}"}}'
        series[error] = f"0+{bad:.6f}x{steps}"
    return series


@pytest.mark.slow
def test_budgets_burn_in_each_window(tmp_path: Path) -> None:
    """A steady burn fires the windows whose rate it exceeds, and at 0.9 none."""
    cases = []
    for objective in OBJECTIVES:
        for burn in (0.9, 1.2, 3.6, 7.0, 16.0):
            windows = sum(burn > window.rate for window in WINDOWS)
            fire = {objective.name: windows} if windows else {}
            series = _burning(objective, burn * objective.budget)
            cases.append(_case(f"{objective.name} {burn}", series, "2m", "72h30m", fire))
    _tested(tmp_path, cases, "30m")
