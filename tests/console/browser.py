"""The console in a real browser: axe, the content policy, keys, a phone's width, and screenshots.

Run by ``make test-console`` with Debian's chromium. Ends with a line for each measure; exits
non-zero if one is short. With a folder as argument it writes screenshots there, and axe does not
look at them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright

from demo import products
from demo.processes import Engine
from tests.console import edits, grid, lapses, mishaps, returns
from tests.console.shelves import drawings, fill
from tests.console.tally import Tally, expect, watched, wide
from tests.console.views import MODES, SHOWN, Mode, opened
from tests.console.work import folder_of_images, part_and_pins, work
from tests.engine.calling import Caller

STORED = 90
COLOURED = ("images", "search", "compare")
LIBRARY, OTHER = "spring catalogue", "summer shop"
VIEWS = 25


def main() -> int:
    """Return the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", type=Path, help="for screenshots, in place of axe")
    folder = arguments.parse_args().folder
    tally = Tally()
    photos = drawings()
    with Engine() as engine, sync_playwright() as playwright:
        keys = engine.create_library(LIBRARY)
        caller = Caller(engine.url, *keys)
        fill(caller, photos[:STORED])
        caller.close()
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        state = signed_in(browser, engine.url, keys)
        work(browser, engine.url, state, tally)
        part_and_pins(browser, engine.url, state, tally)
        folder_of_images(browser, engine.url, state, photos[STORED : STORED + 2], tally)
        context = wide(browser, state)
        for what, true in mishaps.seen(context.new_page(), engine.url):
            expect(tally, what, true)
        context.close()
        context = wide(browser, state)
        small = engine.create_library("small shop")
        caller = Caller(engine.url, *small)
        fill(caller, photos[:3])
        caller.close()
        for what, true in lapses.seen(context.new_page(), engine.url, small):
            expect(tally, what, true)
        context.close()
        edits.work(browser, engine.url, state, tally)
        returns.work(browser, engine.url, state, tally)
        state = beside(browser, engine, state, photos[:STORED])
        for mode in MODES if folder is None else SHOWN:
            look(browser, engine.url, state, mode, photos[0].content, tally, folder)
        browser.close()
    return told(tally) if folder is None else 0


def signed_in(browser: Browser, url: str, keys: tuple[str, str]) -> Any:
    """Sign in as a person does and return the cookies."""
    context = wide(browser)
    page = context.new_page()
    page.goto(url + "/console/")
    page.fill("[name=name]", keys[0])
    page.fill("[name=password]", keys[1])
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-grid]")
    state = context.storage_state()
    context.close()
    return state


def beside(browser: Browser, engine: Engine, state: Any, photos: list[products.Photo]) -> Any:
    """Sign in to a second library on the page of comparisons, and return the cookies."""
    keys = engine.create_library(OTHER, "--embedding", "classic-1")
    caller = Caller(engine.url, *keys)
    fill(caller, photos)
    caller.close()
    context = wide(browser, state)
    page = context.new_page()
    page.goto(engine.url + "/console/compare")
    page.fill("[name=name]", keys[0])
    page.fill("[name=password]", keys[1])
    page.keyboard.press("Enter")
    page.wait_for_selector("form[action$=leave]")
    state = context.storage_state()
    context.close()
    return state


def look(
    browser: Browser,
    url: str,
    state: Any,
    mode: Mode,
    again: bytes,
    tally: Tally,
    folder: Path | None,
) -> None:
    """Open each view in one mode; ``again`` is an image that is stored."""
    context = mode.context(browser, state)
    page = watched(context.new_page(), tally)
    for name in opened(page, url, again):
        page.wait_for_load_state("networkidle")
        tally.views += 1
        label = f"{name} {mode}"
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            tally.wide.append(label)
        if folder is not None:
            if not mode.colours or name in COLOURED:
                page.screenshot(path=folder / f"{name}-{mode}.jpg", type="jpeg", quality=60)
            continue
        tally.off_grid += [f"{label}: {each}" for each in grid.off(page)]
        for each in Axe().run(page).response["violations"]:
            nodes = [node["target"] for node in each["nodes"][:3]]
            tally.violations.append(f"{label}: {each['id']} {nodes}")
    context.close()


def told(tally: Tally) -> int:
    """Print a line for each measure and return the exit status."""
    short, bar = 0, VIEWS * len(MODES)
    measures = {
        "views in modes that axe has looked at": (tally.views, bar, tally.views >= bar),
        "axe violations": (len(tally.violations), 0, not tally.violations),
        "reports of the content policy, errors": (len(tally.reports), 0, not tally.reports),
        "pages wider than the window": (len(tally.wide), 0, not tally.wide),
        "spaces and heights that are off the grid": (len(tally.off_grid), 0, not tally.off_grid),
        "steps by keys that failed": (len(tally.failed), 0, not tally.failed),
    }
    for each in (*tally.violations, *tally.reports, *tally.wide, *tally.off_grid, *tally.failed):
        print(each)
    for name, (value, bar, good) in measures.items():
        print(f"{name}: {value} (bar {bar}) {'ok' if good else 'short'}")
        short += not good
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
