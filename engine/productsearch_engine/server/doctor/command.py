"""Runs the doctor: the settings first, then the machine and the database side by side."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial

from productsearch_engine import settings
from productsearch_engine.server.doctor import database, finding, machine
from productsearch_engine.server.doctor.finding import Finding, judged
from productsearch_engine.settings import Settings, SettingsError


def command(
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    *,
    as_json: bool,
    limit_s: float,
    expect_running: bool,
) -> int:
    """Print what was found; returns the exit status."""
    logging.disable(logging.CRITICAL)  # what matters is a finding
    try:
        chosen = settings.load(environment, flags)
        findings = diagnose(chosen, limit_s, expect_running=expect_running)
    except SettingsError as error:
        findings = [judged("settings.read", str(error), broken="correct each of them")]
    print(finding.as_json(findings) if as_json else finding.as_text(findings))
    return finding.exit_code(findings)


def diagnose(chosen: Settings, limit_s: float, *, expect_running: bool = False) -> list[Finding]:
    """Return what all checks found; each ends ``limit_s`` after the start of all."""
    checks = machine.CHECKS | (machine.EXPECTING if expect_running else {})
    works: dict[str, Callable[[], list[Finding]]] = {
        code: partial(_alone, check, chosen) for code, check in checks.items()
    }
    works[database.ANSWERS] = partial(database.checks, chosen, limit_s * 0.8)
    begun = {code: _begun(work) for code, work in works.items()}
    ends_s = time.monotonic() + limit_s
    findings = [judged("settings.read", "each setting can be used")]
    for code, work in begun.items():
        findings += _result(code, work, max(0.0, ends_s - time.monotonic()))
    return findings


def _begun(work: Callable[[], list[Finding]]) -> Future[list[Finding]]:
    """Begin a work in a thread that does not hold up the end of the process if it hangs."""
    future: Future[list[Finding]] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return future


def _alone(check: Callable[[Settings], Finding], chosen: Settings) -> list[Finding]:
    return [check(chosen)]


def _result(code: str, work: Future[list[Finding]], wait_s: float) -> list[Finding]:
    try:
        return work.result(wait_s)
    except FutureTimeoutError:
        told, remedy = "nothing was found out in time", "look at what it waits for"
    except Exception:  # noqa: BLE001 - the others' findings are told all the same
        told, remedy = "the check failed in an unforeseen way", "report it with this code"
    return [judged(code, told, broken=remedy)]
