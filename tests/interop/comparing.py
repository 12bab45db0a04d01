"""Compares what a runner reported with what its cases expect, and languages with each other."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tests.interop.cases import Case

Outcome = Mapping[str, Any]


def findings(case: Case, outcome: Outcome) -> list[str]:
    """Return everything in which ``outcome`` is not what ``case`` expects."""
    if "crashed" in outcome or "unsupported" in outcome:
        return [f"the runner says {json.dumps(outcome)}"]
    found = [*_mismatches(case.expect, outcome, "")]
    for member, count in case.counts.items():
        entries = outcome.get(member)
        if entries is None or len(entries) != count:
            found.append(f"{member}: {count} entries expected, not {len(entries or ())}")
    if case.kind == "bulk" and not found:
        found += _sums(outcome)
    return found


def differences(case: Case, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return which languages came to another outcome than the first, and in what."""
    told: dict[str, list[str]] = defaultdict(list)
    for language, outcome in outcomes.items():
        told[json.dumps(comparable(case, outcome), sort_keys=True)].append(language)
    if len(told) < 2:
        return []
    (first, languages), *others = told.items()
    return [
        f"{', '.join(who)} differ from {', '.join(languages)}: "
        + "; ".join(_mismatches(json.loads(first), json.loads(other), "", exact=True))
        for other, who in others
    ]


def comparable(case: Case, outcome: Outcome) -> Any:
    """Return the outcome without what may differ.

    That is what the case says, gRPC's own words, and the numbers that an engine makes anew.
    """
    kept = {key: value for key, value in outcome.items() if key not in case.varies}
    if kept.get("reason", "") is None and kept.get("code") != "OK":
        kept.pop("message", None)
    return _normal(kept, anew=("log_id", "logId") if case.plan["target"] == "engine" else ())


def _normal(value: Any, anew: tuple[str, ...]) -> Any:
    """Return ``value`` with numbers of one kind, as 1 and 1.0 are in JSON, and masked members."""
    if isinstance(value, dict):
        return {
            key: "made anew" if key in anew and member else _normal(member, anew)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [_normal(member, anew) for member in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _sums(outcome: Outcome) -> list[str]:
    """Compare a bulk stream's summary with its results."""
    failed = sum(result["code"] != "OK" for result in outcome["results"].values())
    summary = outcome["summary"]
    told = (int(summary.get("failedCount", 0)), int(summary.get("receivedCount", 0)))
    if told != (failed, len(outcome["results"])):
        return [f"summary says {told}, results say {(failed, len(outcome['results']))}"]
    return []


def _mismatches(expected: Any, actual: Any, path: str, *, exact: bool = False) -> Iterator[str]:
    """Yield where ``actual`` is not as ``expected``.

    Objects may have members beyond the expected ones unless ``exact``; lists are compared entry
    by entry. ``@any`` is anything but null, ``@positive`` a number above 0, ``@contains:TEXT``
    a text that holds TEXT.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in expected if not exact else sorted({*expected, *actual}):
            missing = "(nothing)"
            yield from _mismatches(
                expected.get(key, missing), actual.get(key, missing), f"{path}.{key}", exact=exact
            )
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, pair in enumerate(zip(expected, actual, strict=True)):
            yield from _mismatches(*pair, f"{path}[{index}]", exact=exact)
    elif not (_meets(expected, actual) and not exact) and not _equal(expected, actual):
        yield f"{path.lstrip('.')}: {_short(expected)} expected, not {_short(actual)}"


def _meets(expected: Any, actual: Any) -> bool:
    if expected == "@any":
        return actual not in (None, "(nothing)")
    if expected == "@positive":
        return isinstance(actual, int | float) and actual > 0
    if isinstance(expected, str) and expected.startswith("@contains:"):
        return isinstance(actual, str) and expected.removeprefix("@contains:") in actual
    return False


def _equal(expected: Any, actual: Any) -> bool:
    """Whether two values are the same; 1 is not true."""
    return bool(expected == actual) and isinstance(expected, bool) == isinstance(actual, bool)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) < 200 else f"{text[:200]}..."
