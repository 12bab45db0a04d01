"""The decision table: on the page as it is in code, and one incident for whatever panels show."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from tests.observability.evening_acts import ACTS
from tests.observability.incidents import INCIDENTS, SIGNS, Incident, Shown, fitting, queries, row

PAGE = (Path(__file__).resolve().parents[2] / "docs/operating.md").read_text("utf-8")
TABLE = PAGE.partition("\n## Which incident is it?")[2].partition("\n## ")[0]


def test_the_page_has_these_rows_and_no_others() -> None:
    """Each with its signs, who is to blame, and what to do."""
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(INCIDENTS) >= 10
    for each, told in zip(INCIDENTS, rows, strict=True):
        assert told.startswith(row(each))
        culprit, todo = (cell.strip() for cell in told.removeprefix(row(each)).split("|")[:2])
        assert culprit
        assert todo


def test_signs_are_read_from_panels_that_exist() -> None:
    """And nothing on a panel is no sign but where that is the sign."""
    silent = []
    for sign in SIGNS:
        nothing = dict.fromkeys(queries(sign.panel), ())
        if sign.is_there(Shown(nothing, nothing)):
            silent.append(sign.says)
    assert ["no lines"] == silent


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda each: each.name)
def test_its_signs_name_one_incident(incident: Incident) -> None:
    """Alone, and with all that may be seen beside them."""
    assert [incident.name] == fitting(frozenset(incident.signs))
    assert [incident.name] == fitting(frozenset((*incident.signs, *incident.perhaps)))


def test_no_two_incidents_fit_the_same() -> None:
    """Whatever is seen: of any two rows, one needs a sign that the other must not have."""
    for one, other in combinations(INCIDENTS, 2):
        needed = {*one.signs, *other.signs}
        allowed = {*one.signs, *one.perhaps} & {*other.signs, *other.perhaps}
        assert needed - allowed, (one.name, other.name)


def test_healthy_panels_name_none() -> None:
    """Nor is there an act of the evening without its row, or a row without its act."""
    assert [] == fitting(frozenset())
    assert {each.name for each in INCIDENTS} == {act.incident for act in ACTS if act.incident}
