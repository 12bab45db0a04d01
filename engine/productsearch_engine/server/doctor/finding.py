"""What a check found, and how findings are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "warning", "unknown", "broken", "skipped"]
SIGN_S = 5.0
"""Whoever was given so long and said nothing hangs."""
_EXIT_CODES: dict[State, int] = {"broken": 2, "unknown": 3, "warning": 1}
"""Of the worst state, the worst first; 0 of all others."""


@dataclass(frozen=True)
class Finding:
    """A check's stable ``code``, its state, what was seen, and what to do about it."""

    code: str
    state: State
    evidence: str
    remedy: str = ""


def judged(code: str, evidence: str, *, broken: str = "", warning: str = "") -> Finding:
    """Return a finding that is well unless there is a remedy: of what is broken, or warned of."""
    state: State = "broken" if broken else "warning" if warning else "ok"
    return Finding(code, state, evidence, broken or warning)


def not_ended(code: str, limit_s: float, waits_for: str) -> Finding:
    """Return that a check did not end in time, and what it waits for.

    That is no sign of a fault: a busy machine does the same.
    """
    told = f"did not end: nothing was found out within {limit_s:.1f} s"
    remedy = f"give it longer with --limit; if it stays, look at {waits_for}"
    return Finding(code, "unknown", told, remedy)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0 if all is well, 1 with warnings, 2 if something is broken, 3 if not all is known."""
    found = {each.state for each in findings}
    return next((code for state, code in _EXIT_CODES.items() if state in found), 0)


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as one JSON object, as the service's doctor tells its own."""
    checks = [{"subject": "", **asdict(each)} for each in findings]
    return json.dumps({"exit_code": exit_code(findings), "checks": checks}, indent=1)


def as_text(findings: Sequence[Finding]) -> str:
    """Return a line for each finding, its remedy below, and a line that sums them up."""
    lines = []
    for each in findings:
        lines += [f"{each.state:8} {each.code:22} {each.evidence}"]
        lines += [f"{'do:':>34} {each.remedy}"] * bool(each.remedy)
    states = [each.state for each in findings]
    lines.append(
        f"{len(states)} checks: {states.count('broken')} broken,"
        f" {states.count('unknown')} unknown, {states.count('warning')} with a warning,"
        f" {states.count('skipped')} skipped"
    )
    return "\n".join(lines)
