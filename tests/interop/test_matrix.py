"""The matrix in Python, and proof that it finds what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from demo.processes import Engine
from productsearch.v1 import ErrorReason
from tests.errors.test_error_table import BY_UPSTREAM_CODE
from tests.interop.cases import Case, read_cases
from tests.interop.comparing import differences, findings
from tests.interop.languages import ALL_KINDS, LANGUAGES
from tests.interop.matrix import run


@pytest.mark.slow
def test_python_passes_every_case(engine: Engine) -> None:
    """Each case comes out as expected, and all reasons of the enum occur."""
    # The keepalive case takes a minute: `python -m tests.interop` has it, and all languages.
    cases = [case for case in read_cases() if case.kind != "keepalive"]
    (python,) = (language for language in LANGUAGES if language.name == "python")
    result = run(cases, {python: python.build()}, engine)
    assert [] == result.findings
    assert len(cases) == result.ran("python")
    assert {*ErrorReason.keys()} - {"ERROR_REASON_UNSPECIFIED"} <= result.reasons


def test_the_cases_are_complete() -> None:
    """Every code of the error table, every kind, names once, and a method for each unary case."""
    cases = read_cases()
    names = [case.name for case in cases]
    assert len(names) == len({*names})
    assert {f"upstream_code_{code}" for code in BY_UPSTREAM_CODE} <= {*names}
    assert ALL_KINDS == {case.kind for case in cases}
    methods = {case.plan["method"] for case in cases if case.kind == "unary"}
    assert {
        "AddImage",
        "SearchImages",
        "UpdateImage",
        "DeleteImage",
        "BatchDeleteImages",
    } == methods


def _case(expect: dict[str, Any], **more: Any) -> Case:
    plan = {"name": "it", "kind": "unary", "target": "fake"}
    return Case(name="it", plan=plan | more.pop("plan", {}), expect=expect, **more)


GOOD: dict[str, Any] = {"code": "NOT_FOUND", "reason": "R", "log_id": "18446744073709551615"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "OK"},
        {"reason": None},
        {"log_id": "18446744073709551616"},
        {"log_id": 18446744073709551615},
        {"crashed": "why"},
        {"unsupported": True},
    ],
)
def test_a_wrong_outcome_is_found(wrong: dict[str, Any]) -> None:
    """What is as expected passes; a changed member, a lost bit or another type does not."""
    assert [] == findings(_case(GOOD), GOOD)
    assert [] != findings(_case(GOOD), GOOD | wrong)


@pytest.mark.parametrize(
    ("expected", "right", "wrong"),
    [
        ("@any", "x", None),
        ("@positive", 0.5, 0),
        ("@positive", 1, "1"),
        ("@contains:as it", "just as it said", "not so"),
        ({"a": 1}, {"a": 1, "b": 2}, {"b": 2}),
        ([1, 2], [1, 2], [1, 2, 3]),
        ([1, 2], [1, 2], [2, 1]),
        (True, True, 1),
        ({}, {}, None),
        ("a\u0000b 🍎", "a\u0000b 🍎", "a"),
    ],
)
def test_expectations_can_fail(expected: Any, right: Any, wrong: Any) -> None:
    """Each way to expect something takes the right value and no other."""
    case = _case({"value": expected})
    assert [] == findings(case, {"value": right})
    assert [] != findings(case, {"value": wrong})


def test_counts_and_sums_are_checked() -> None:
    """A missing entry is found, and so is a summary that does not add up."""
    signs = _case({}, counts={"signs": 2})
    assert [] == findings(signs, {"signs": ["a", "b"]})
    assert [] != findings(signs, {"signs": ["a"]})
    bulk = _case({}, plan={"kind": "bulk"})
    results = {"a": {"code": "OK"}, "b": {"code": "INTERNAL"}}
    summary = {"receivedCount": "2", "addedCount": "1", "failedCount": "1"}
    assert [] == findings(bulk, {"results": results, "summary": summary})
    assert [] != findings(bulk, {"results": results, "summary": summary | {"failedCount": "2"}})


def test_languages_that_differ_are_found() -> None:
    """Another outcome in one language is told with its path; gRPC's own words may differ."""
    case = _case({"code": "X"}, varies=("resent",))
    one = {"code": "X", "reason": "R", "message": "m", "resent": 1, "retry_delay_s": 1}
    alike = one | {"resent": 2, "retry_delay_s": 1.0}
    assert [] == differences(case, {"go": one, "java": alike})
    (told,) = differences(case, {"go": one, "java": one | {"message": "n"}})
    assert "java differ from go: message" in told
    own = {"code": "X", "reason": None, "message": "m"}
    assert [] == differences(case, {"go": own, "java": own | {"message": "n"}})


def test_numbers_that_an_engine_makes_anew_may_differ() -> None:
    """log_ids of the engine are compared by being there, not by value."""
    case = _case({}, plan={"target": "engine"})
    one = {"code": "OK", "response": {"logId": "5"}}
    assert [] == differences(case, {"go": one, "java": {"code": "OK", "response": {"logId": "6"}}})
    assert [] != differences(case, {"go": one, "java": {"code": "OK", "response": {}}})
