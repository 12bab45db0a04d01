"""Runs the doctor: the settings first, then the machine and the database side by side.

The limit is one for the whole command, with the start of its process.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import TypeVar

from productsearch_engine import settings
from productsearch_engine.server.doctor import database, finding, machine
from productsearch_engine.server.doctor.age import of_process_s
from productsearch_engine.server.doctor.finding import Finding, judged, not_ended
from productsearch_engine.settings import Settings, SettingsError

Value = TypeVar("Value")

_THREAD = "doctor"
_LEFT_MIN_S = 0.1
"""However long the start took."""
_KEPT_S = 0.3
"""For what a check does after its wait."""


def command(
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    *,
    as_json: bool,
    limit_s: float,
    expect_running: bool,
) -> int:
    """Print what was found; returns the exit status, or ends the process if a check hangs."""
    logging.disable(logging.CRITICAL)  # what matters is a finding
    left_s = max(_LEFT_MIN_S, limit_s - of_process_s(os.getpid()))
    try:
        chosen = settings.load(environment, flags)
        findings = diagnose(chosen, left_s, expect_running=expect_running)
    except SettingsError as error:
        findings = [judged("settings.read", str(error), broken="correct each of them")]
    print(finding.as_json(findings) if as_json else finding.as_text(findings))
    code = finding.exit_code(findings)
    if any(thread.name == _THREAD for thread in threading.enumerate()):
        # What it does, such as the import of a large library, would hold up an ordinary end.
        sys.stdout.flush()
        os._exit(code)
    return code


def diagnose(chosen: Settings, limit_s: float, *, expect_running: bool = False) -> list[Finding]:
    """Return what all checks found; each ends ``limit_s`` after the start of all."""
    ends_s = time.monotonic() + limit_s
    checks = machine.CHECKS | (machine.EXPECTING if expect_running else {})
    waits_s = ends_s - min(_KEPT_S, limit_s / 4)
    asks = _begun(partial(database.checks, chosen, waits_s))
    begun = {code: _begun(partial(check, chosen)) for code, check in checks.items()}
    findings = [judged("settings.read", "each setting can be used")]
    for code, work in begun.items():
        try:
            findings.append(work.result(_left_s(ends_s)))
        except FutureTimeoutError:
            findings.append(not_ended(code, limit_s, machine.WAITS_FOR.get(code, machine.VOLUME)))
        except Exception:  # noqa: BLE001 - the others' findings are told all the same
            findings.append(_failed(code))
    try:
        return findings + asks.result(_left_s(ends_s))
    except FutureTimeoutError:
        return findings + database.unanswered(chosen, limit_s)
    except Exception:  # noqa: BLE001 - the others' findings are told all the same
        return [*findings, _failed(database.ANSWERS)]


def _left_s(ends_s: float) -> float:
    return max(0.0, ends_s - time.monotonic())


def _failed(code: str) -> Finding:
    told = "the check failed in an unforeseen way"
    return judged(code, told, broken="report it with this code")


def _begun(work: Callable[[], Value]) -> Future[Value]:
    """Begin a work in a thread that does not hold up the end of the process if it hangs."""
    future: Future[Value] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, name=_THREAD, daemon=True).start()
    return future
