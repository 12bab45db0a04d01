"""What steps in a browser saw: for ``tests.console.browser`` and its parts."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from tests.console.views import Mode


class Tally:
    """What was seen in all pages."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.reports: list[str] = []
        self.wide: list[str] = []
        self.off_grid: list[str] = []
        self.failed: list[str] = []
        self.views = 0


def wide(browser: Browser, state: Any = None) -> BrowserContext:
    """Return a wide window with somebody's cookies."""
    return Mode(width=1440, locale="en-GB", scheme="light").context(browser, state)


def watched(page: Page, tally: Tally) -> Page:
    """Note what the page reports: the content policy's reports and errors of scripts."""

    def note(text: str) -> None:
        if "Content Security Policy" in text or "Error" in text:
            tally.reports.append(text)

    page.on("console", lambda message: note(message.text))
    page.on("pageerror", lambda error: note(f"Error: {error}"))
    return page


def expect(tally: Tally, what: str, true: bool) -> None:
    """Note what did not work."""
    if not true:
        tally.failed.append(what)
