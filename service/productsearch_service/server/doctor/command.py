"""Runs the doctor: settings first, then all that they name, at the same time."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import NoReturn

from productsearch_service.server.doctor import callers, machine, upstream
from productsearch_service.server.doctor.finding import (
    Check,
    Finding,
    Report,
    as_json,
    as_text,
    broken,
    exit_code,
    ok,
    run,
)
from productsearch_service.server.doctor.replica import running
from productsearch_service.server.files import CheckedSettings
from productsearch_service.settings import FILE_VARIABLE, Settings
from productsearch_service.settings_reading import SettingsError, read_settings


def diagnose(limit_s: float, *, expect_running: bool = False) -> list[Report]:
    """Return what all checks found; if the settings are wrong, that is all there is to say."""
    source = os.environ.get(FILE_VARIABLE) or "the environment"
    try:
        settings = read_settings(CheckedSettings)
    except SettingsError as error:
        found = broken(str(error), "correct each line; productsearch-service settings check FILE")
        return asyncio.run(run([Check("settings.read", lambda: found)], limit_s))
    read = ok(f"{source}: each setting can be used")
    checks = all_checks(settings, read, limit_s, expect_running=expect_running)
    return asyncio.run(run(checks, limit_s))


def all_checks(
    settings: Settings, read: Finding, limit_s: float, *, expect_running: bool = False
) -> list[Check]:
    """Return every check for these settings, of which reading them was ``read``.

    Waits for the upstream end before ``limit_s``, so that what hangs is told by its name.
    """
    replica = running(settings)
    return [
        Check("settings.read", lambda: read),
        *machine.checks(settings, replica, limit_s * 0.8, expected=expect_running),
        *callers.checks(settings),
        *upstream.checks(settings, replica, limit_s * 0.8),
    ]


def command(*, json: bool, limit_s: float, expect_running: bool) -> NoReturn:
    """Print what was found and end the process: a thread that hangs does not hold it up."""
    logging.disable(logging.CRITICAL)  # what matters is a finding
    reports = diagnose(limit_s, expect_running=expect_running)
    sys.stdout.write(as_json(reports) if json else as_text(reports))
    sys.stdout.flush()
    os._exit(exit_code(reports))
