"""A policy of thousands of callers and rules: it starts, is replaced, and answers for any name."""

from __future__ import annotations

import random
import time

import pytest

from productsearch_service.errors import CallerForbidden
from productsearch_service.identity.patterns import PatternIndex, matches
from productsearch_service.identity.policy import Policy
from productsearch_service.identity.shut_out import shut_out
from productsearch_service.settings_words import Hints

CALLERS = 5000
MADE_UP = 100
CPU_S_MAX = 4.0
"""All of a file takes a tenth of it; before, a hundred checks alone took ten seconds."""


def _policy(last: str = "") -> Policy:
    names = [f"spiffe://mesh.example/ns/shop/sa/caller-{number}" for number in range(CALLERS)]
    lines = [f'[callers."{name}"]\nshare = 2' for name in names]
    lines += [f'[[rules]]\ncallers = ["{name}"]\nlibraries = ["season-*"]' for name in names]
    return Policy.parse("\n".join([*lines, last]).encode())


def test_a_caller_of_thousands_asks_for_names_that_it_makes_up() -> None:
    """Each costs a look at its own rules, and not at those of all others."""
    policy = _policy()
    caller = f"spiffe://mesh.example/ns/shop/sa/caller-{CALLERS - 1}"
    began_s = time.thread_time()
    for number in range(MADE_UP):
        with pytest.raises(CallerForbidden):
            policy.check(caller, "AddImage", f"made-up-{number}")
    policy.check(caller, "AddImage", "season-26")
    assert time.thread_time() - began_s < CPU_S_MAX / 10


def test_it_is_read_and_replaced() -> None:
    """What is hardly meant is told of all of it, within the time of a start."""
    began_s = time.thread_time()
    before, now = _policy(), _policy('[[rules]]\ncallers = ["caller-9"]')
    libraries = [f"season-{number}" for number in range(20)]
    assert [] == [*before.unused(libraries)]
    assert [] == [*shut_out(before, now, libraries)]
    assert CALLERS == sum("library season-*" in told for told in before.unused(["default"]))
    assert CALLERS == len([*shut_out(before, _policy_of_nobody(), ["season-1"])])
    assert time.thread_time() - began_s < CPU_S_MAX


def _policy_of_nobody() -> Policy:
    callers = "\n".join(
        f'[callers."spiffe://mesh.example/ns/shop/sa/caller-{number}"]\nshare = 2'
        for number in range(CALLERS)
    )
    rule = '[[rules]]\ncallers = ["spiffe://*"]\nlibraries = ["another"]'
    return Policy.parse(f"{callers}\n{rule}".encode())


def test_hints_end_where_they_cost_too_much() -> None:
    """Each name is compared with all that are known, as long as that is few."""
    hints = Hints(comparisons_max=5)
    assert "; did you mean catalogue?" == hints.nearest("catalogeu", ["catalogue", "b"])
    assert "; did you mean catalogue?" == hints.nearest("catalogeu", ["catalogue", "b"])
    assert "" == hints.nearest("catalogeu", ["catalogue", "b"])


def test_the_index_finds_what_matches() -> None:
    """Random lists of patterns, and random names: the lists that a look at each one finds."""
    chance = random.Random(20261127)
    found = 0
    for _ in range(300):
        lists = [
            tuple(
                "".join(chance.choices("ab/*?", weights=(4, 4, 2, 1, 1), k=chance.randint(1, 6)))
                for _ in range(chance.randint(1, 3))
            )
            for _ in range(20)
        ]
        index = PatternIndex(lists)
        for _ in range(20):
            name = "".join(chance.choices("ab/", k=chance.randint(0, 6)))
            expected = [number for number, patterns in enumerate(lists) if matches(patterns, name)]
            assert expected == index.of(name), (lists, name)
            found += len(expected)
    assert found > 1000
