"""What a check is and what it found; runs checks side by side, until the time is over for all.

Each has a thread of its own, which does not hold up the end: a volume, a name server, or code of
others may hang in ways that cannot be ended from outside.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict, dataclass
from enum import IntEnum
from functools import partial
from threading import Thread
from typing import Any, Final, TypeVar

from productsearch_service.call_context import Deadline
from productsearch_service.redaction import redact

Value = TypeVar("Value")

_SIGN_S: Final = 5.0
"""Whoever was given so long and said nothing hangs: no call waits longer for a token."""
_WAIT_MIN_S: Final = 0.05
"""A socket with no time at all would not block."""


class State(IntEnum):
    """How a check ended, the worst last. ``UNKNOWN``: in no time, which is no sign of a fault."""

    SKIPPED = 0
    OK = 1
    WARNING = 2
    UNKNOWN = 3
    BROKEN = 4


_EXIT_CODES: Final = {State.WARNING: 1, State.UNKNOWN: 3, State.BROKEN: 2}
"""Of the worst state; 0 of all others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and what to do about it."""

    state: State
    evidence: str
    remedy: str = ""


def ok(evidence: str) -> Finding:
    """Return that all is well."""
    return Finding(State.OK, evidence)


def warning(evidence: str, remedy: str) -> Finding:
    """Return what works and will not for long, or is hardly meant."""
    return Finding(State.WARNING, evidence, remedy)


def broken(evidence: str, remedy: str) -> Finding:
    """Return what keeps calls from being served."""
    return Finding(State.BROKEN, evidence, remedy)


def skipped(evidence: str) -> Finding:
    """Return that there was nothing to check."""
    return Finding(State.SKIPPED, evidence)


Work = Callable[[], Finding | Coroutine[Any, Any, Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its stable ``code``, the library that it is of, and its work.

    While one of the checks ``needs`` of the same library is broken or unknown, this one can say
    nothing new and counts as skipped. ``waits_for`` is what to look at if it does not end.
    """

    code: str
    work: Work
    subject: str = ""
    needs: tuple[str, ...] = ()
    waits_for: str = "the volume of a file that it reads"

    @property
    def asks_others(self) -> bool:
        """Whether it waits for another process or machine, most likely."""
        return self.code.startswith("upstream.")


@dataclass(frozen=True, slots=True)
class Report:
    """A finding with what it is about, without a secret."""

    code: str
    subject: str
    state: str
    evidence: str
    remedy: str


def begun(work: Callable[[], Value], name: str = "doctor") -> Future[Value]:
    """Begin a work in a thread that does not hold up the end of the process if it hangs."""
    future: Future[Value] = Future()

    def run_it() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)

    Thread(target=run_it, name=name, daemon=True).start()
    return future


def run(checks: Sequence[Check], deadline: Deadline) -> list[Report]:
    """Run all checks at the same time and return what they found until then, in their order."""
    limit_s = deadline.remaining_s()
    # On a busy machine the first ones have most of the time: those that wait for others.
    works = {
        each: begun(partial(_found, each), each.code)
        for each in sorted(checks, key=lambda each: not each.asks_others)
    }
    findings = [ended(works[each], deadline, each.waits_for, limit_s) for each in checks]
    found = {(each.code, each.subject): it for each, it in zip(checks, findings, strict=True)}
    reports = []
    for each, it in zip(checks, findings, strict=True):
        needed = {code: found[code, each.subject] for code in each.needs}
        reasons = [code for code, its in needed.items() if its.state >= State.UNKNOWN]
        if reasons and it.state >= State.UNKNOWN:
            it = skipped(f"cannot be seen while {reasons[0]} is not well")
        reports.append(reported(each, it))
    return reports


def reported(check: Check, found: Finding) -> Report:
    """Return what a check found as it is told."""
    texts = (redact(found.evidence), redact(found.remedy))
    return Report(check.code, check.subject, found.state.name.lower(), *texts)


def _found(check: Check) -> Finding:
    found = check.work()
    return found if isinstance(found, Finding) else asyncio.run(found)


def ended(
    work: Future[Finding], deadline: Deadline, waits_for: str, limit_s: float | None = None
) -> Finding:
    """Return what a work found until then; ``limit_s``: the time that it had, if not from now."""
    left_s = deadline.remaining_s()
    try:
        return work.result(left_s)
    except FutureTimeoutError:
        return not_ended(left_s if limit_s is None else limit_s, waits_for)
    except Exception:  # noqa: BLE001 - the others' findings are told all the same
        return broken("the check failed in an unforeseen way", "report it with this code")


def not_ended(limit_s: float, waits_for: str) -> Finding:
    """Return that a check did not end in time, and what it waits for.

    That is no sign of a fault: a busy machine does the same.
    """
    told = f"did not end: nothing was found out within {limit_s:.1f} s"
    remedy = f"give it longer with --limit; if it stays, look at {waits_for}"
    return Finding(State.UNKNOWN, told, remedy)


def silent(waited_s: float, waits_for: str, hangs: Finding) -> Finding:
    """Return ``hangs`` if somebody had long enough to answer, or else that nothing is known."""
    return hangs if waited_s >= _SIGN_S else not_ended(waited_s, waits_for)


def left_s(deadline: Deadline) -> float:
    """Return how long to wait for others at most."""
    return max(_WAIT_MIN_S, deadline.remaining_s())


def turn_s(deadline: Deadline) -> float:
    """Return how long to wait for one of several that are asked one after the other."""
    return min(left_s(deadline), _SIGN_S)


def exit_code(reports: Sequence[Report]) -> int:
    """Return 0 if all is well, 1 with warnings, 2 if something is broken, 3 if not all is known."""
    worst = max((State[each.state.upper()] for each in reports), default=State.OK)
    return _EXIT_CODES.get(worst, 0)


def as_json(reports: Sequence[Report]) -> str:
    """Return the reports as one JSON object."""
    told = {"exit_code": exit_code(reports), "checks": [asdict(each) for each in reports]}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def as_text(reports: Sequence[Report]) -> str:
    """Return the reports as lines for people, and a line that sums them up."""
    lines = []
    for each in reports:
        about = f"{each.subject}: " if each.subject else ""
        first, *more = each.evidence.splitlines() or [""]
        lines.append(f"{each.state:8} {each.code:22} {about}{first}")
        lines += [f"{'':31} {line}" for line in more]
        if each.remedy:
            lines.append(f"{'':31} do: {each.remedy}")
    states = [each.state for each in reports]
    lines.append(
        f"{len(states)} checks: {states.count('broken')} broken,"
        f" {states.count('unknown')} unknown, {states.count('warning')} with a warning,"
        f" {states.count('skipped')} skipped"
    )
    return "\n".join(lines) + "\n"
