"""What a check is and what it found; runs checks side by side, each with a limit of its own."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import IntEnum

from productsearch_service.redaction import redact


class State(IntEnum):
    """How a check ended; the command's exit code is the highest of all, skipped ones left out."""

    SKIPPED = -1
    OK = 0
    WARNING = 1
    BROKEN = 2


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


Work = Callable[[], Finding | Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its stable ``code``, the library that it is of, and its work.

    Work that is no coroutine runs in a thread. While one of the checks ``needs`` of the same
    library is broken, this one can say nothing new and counts as skipped.
    """

    code: str
    work: Work
    subject: str = ""
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A finding with what it is about, without a secret."""

    code: str
    subject: str
    state: str
    evidence: str
    remedy: str


async def run(checks: Sequence[Check], limit_s: float) -> list[Report]:
    """Run all checks at the same time and return what they found, in their order."""
    threads = ThreadPoolExecutor(len(checks), "doctor")
    try:
        findings = await asyncio.gather(*(_limited(each, threads, limit_s) for each in checks))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # a thread that hangs holds nobody up
    found = {(each.code, each.subject): it for each, it in zip(checks, findings, strict=True)}
    reports = []
    for each, it in zip(checks, findings, strict=True):
        reasons = [code for code in each.needs if found[code, each.subject].state is State.BROKEN]
        if it.state is State.BROKEN and reasons:
            it = skipped(f"cannot be seen while {reasons[0]} is broken")
        state = it.state.name.lower()
        texts = (redact(it.evidence), redact(it.remedy))
        reports.append(Report(each.code, each.subject, state, *texts))
    return reports


async def _limited(check: Check, threads: ThreadPoolExecutor, limit_s: float) -> Finding:
    try:
        async with asyncio.timeout(limit_s):
            if inspect.iscoroutinefunction(check.work):
                found: Finding = await check.work()
                return found
            return await asyncio.get_running_loop().run_in_executor(threads, check.work)  # type: ignore[arg-type] # no coroutine
    except TimeoutError:
        return broken(
            f"nothing was found out within {limit_s:g} s",
            "look at what it waits for: a volume, a name server, or the upstream that hangs",
        )
    except Exception:  # noqa: BLE001 - the others' findings are told all the same
        return broken("the check failed in an unforeseen way", "report it with this code")


def exit_code(reports: Sequence[Report]) -> int:
    """Return 0 if all is well, 1 with warnings, 2 if something is broken."""
    return max(0, *(State[each.state.upper()] for each in reports))


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
        f" {states.count('warning')} with a warning, {states.count('skipped')} skipped"
    )
    return "\n".join(lines) + "\n"
