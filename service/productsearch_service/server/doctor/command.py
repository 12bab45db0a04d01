"""Runs the doctor: settings first, then all that they name, at the same time.

The limit is one for the whole command, with the start of its process: on a busy machine that is
the longest part. So checks import what they alone need, within the limit.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from productsearch_service.call_context import Deadline
from productsearch_service.server.doctor import finding
from productsearch_service.server.doctor.age import of_process_s
from productsearch_service.server.doctor.finding import (
    Check,
    Finding,
    Report,
    State,
    as_json,
    as_text,
    begun,
    broken,
    ended,
    exit_code,
    ok,
    reported,
)

if TYPE_CHECKING:
    from productsearch_service.settings import Settings

SETTINGS: Final = "settings.read"
_KEPT_S: Final = 0.3
"""For what a check does after its wait."""
_LEFT_MIN_S: Final = 0.1
"""However long the start took."""


def diagnose(limit_s: float, *, expect_running: bool = False) -> list[Report]:
    """Return what all checks found within ``limit_s``; of wrong settings, that is all."""
    deadline = Deadline.after(limit_s)
    checks: list[Check] = []

    def read() -> Finding:
        found, settings = _read()
        if settings is not None:
            checks.extend(all_checks(settings, found, deadline, expect_running=expect_running))
        return found

    for work, waits_for in (
        (_import, "what keeps this machine busy, and the volume of this installation"),
        (read, "the volume of the settings and of the files that they name"),
    ):
        found = ended(begun(work), deadline, waits_for)
        if found.state is not State.OK:
            return [reported(Check(SETTINGS, work), found)]
    return finding.run(checks, deadline)


def _import() -> Finding:
    """Import what all checks need: on a busy machine that is a part of the time by itself."""
    from productsearch_service.server.doctor import callers, machine, upstream
    from productsearch_service.server.files import CheckedSettings

    return ok(f"{callers, machine, upstream, CheckedSettings} are there")


def _read() -> tuple[Finding, Settings | None]:
    from productsearch_service.server.files import CheckedSettings
    from productsearch_service.settings import FILE_VARIABLE
    from productsearch_service.settings_reading import SettingsError, read_settings

    source = os.environ.get(FILE_VARIABLE) or "the environment"
    try:
        settings = read_settings(CheckedSettings)
    except SettingsError as error:
        remedy = "correct each line; productsearch-service settings check FILE"
        return broken(str(error), remedy), None
    return ok(f"{source}: each setting can be used"), settings


def all_checks(
    settings: Settings, read: Finding, deadline: Deadline, *, expect_running: bool = False
) -> list[Check]:
    """Return every check for these settings, of which reading them was ``read``.

    Waits for others end a little before the deadline, so that what hangs is told by its name.
    """
    from productsearch_service.server.doctor import callers, machine, upstream
    from productsearch_service.server.doctor.replica import running

    waits = Deadline(deadline.at_s - min(_KEPT_S, deadline.remaining_s() / 4))
    replica = begun(lambda: running(settings, waits)).result
    return [
        Check(SETTINGS, lambda: read),
        *machine.checks(settings, replica, waits, expected=expect_running),
        *callers.checks(settings),
        *upstream.checks(settings, replica, waits),
    ]


def command(*, json: bool, limit_s: float, expect_running: bool) -> NoReturn:
    """Print what was found and end the process: a thread that hangs does not hold it up."""
    logging.disable(logging.CRITICAL)  # what matters is a finding
    left_s = max(_LEFT_MIN_S, limit_s - of_process_s(os.getpid()))
    reports = diagnose(left_s, expect_running=expect_running)
    sys.stdout.write(as_json(reports) if json else as_text(reports))
    sys.stdout.flush()
    os._exit(exit_code(reports))
