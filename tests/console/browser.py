"""The console in a real browser: axe, the content policy, keys, a phone's width, and screenshots.

Run by ``make test-console`` with Debian's chromium. Ends with a line for each measure; exits
non-zero if one is short. With a folder as argument it writes screenshots there, and axe does not
look at them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from demo import products
from demo.processes import Engine
from tests.console import lapses, mishaps
from tests.console.shelves import drawings, fill
from tests.console.views import MODES, SHOWN, Mode, opened
from tests.engine.calling import Caller

STORED = 90
COLOURED = ("images", "search", "compare")
LIBRARY, OTHER = "spring catalogue", "summer shop"
VIEWS = 23


class Tally:
    """What was seen in all pages."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.reports: list[str] = []
        self.wide: list[str] = []
        self.failed: list[str] = []
        self.views = 0


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
        state = beside(browser, engine, state, photos[:STORED])
        for mode in MODES if folder is None else SHOWN:
            look(browser, engine.url, state, mode, photos[0].content, tally, folder)
        browser.close()
    return told(tally) if folder is None else 0


def wide(browser: Browser, state: Any = None) -> BrowserContext:
    """Return a wide window with somebody's cookies."""
    return Mode(width=1440, locale="en-GB", scheme="light").context(browser, state)


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


def watched(page: Page, tally: Tally) -> Page:
    """Note what the page reports: the content policy's reports and errors of scripts."""

    def note(text: str) -> None:
        if "Content Security Policy" in text or "Error" in text:
            tally.reports.append(text)

    page.on("console", lambda message: note(message.text))
    page.on("pageerror", lambda error: note(f"Error: {error}"))
    return page


def work(browser: Browser, url: str, state: Any, tally: Tally) -> None:
    """Select, delete, undo, edit and search by keys alone."""
    context = wide(browser, state)
    page = watched(context.new_page(), tally)
    page.goto(url + "/console/")
    first = page.locator("[data-open]").first.get_attribute("href")
    count = page.locator("[data-card]").count()
    for key in ("j", "x", "j", "j", "x"):
        page.keyboard.press(key)
    expect(tally, "two selected by keys", page.locator("[data-pick]:checked").count() == 2)
    page.keyboard.press("Control+a")
    expect(tally, "all selected", page.locator("[data-pick]:checked").count() == count)
    page.keyboard.press("Escape")
    expect(tally, "none selected", page.locator("[data-pick]:checked").count() == 0)
    page.locator("[data-open]").first.focus()
    page.keyboard.press("Delete")
    page.wait_for_selector(".notice")
    gone = page.locator("[data-open]").first.get_attribute("href") != first
    expect(tally, "deleted by a key", gone)
    page.keyboard.press("u")
    page.wait_for_url("**told=undone*")
    back = page.locator("[data-open]").first.get_attribute("href")
    expect(tally, "undone by a key", back is not None and back.partition("?")[0] == first)
    page.locator("[data-open]").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("textarea")
    page.keyboard.press("e")
    page.keyboard.press("Control+a")
    page.keyboard.type("for the shop window in June")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=*")
    expect(tally, "saved, then next", str(first) not in page.url)
    context.close()


def part_and_pins(browser: Browser, url: str, state: Any, tally: Tally) -> None:
    """Search by a part that is drawn and moved by keys; pin two hits; run the pins."""
    context = wide(browser, state)
    page = watched(context.new_page(), tally)
    page.goto(url + "/console/")
    image = page.locator("[data-open]").nth(7).get_attribute("href") or ""
    page.goto(f"{url}/console/search?like={image.rpartition('/')[2].partition('?')[0]}")
    page.locator(".part summary").click()
    sides = page.locator("[data-framed]").bounding_box() or {}
    page.mouse.move(sides["x"] + sides["width"] * 0.1, sides["y"] + sides["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(sides["x"] + sides["width"] * 0.6, sides["y"] + sides["height"] * 0.8)
    page.mouse.up()
    drawn = [float(page.input_value(f"[name={name}]")) for name in ("left", "top", "width")]
    near = all(abs(a - b) < 2 for a, b in zip(drawn, (10, 10, 50), strict=True))
    expect(tally, f"a part is drawn: {drawn}", near)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    moved = float(page.input_value("[name=left]"))
    expect(tally, "a part is moved by keys", abs(moved - drawn[0] - 1) < 0.11)
    page.locator(".part .primary").click()
    page.wait_for_url("**query=*")
    expect(tally, "the part has results", page.locator("[data-card]").count() > 3)
    found = page.url
    for place in (0, 2):
        page.goto(found)
        page.locator("[name=hit]").nth(place).click()
        page.wait_for_url("**/pins")
    page.locator(".run button").click()
    page.wait_for_selector(".word.similar, .word.same")
    expect(tally, "pins have run", page.locator(".word.same").count() == 1)
    context.close()


def folder_of_images(
    browser: Browser, url: str, state: Any, photos: list[products.Photo], tally: Tally
) -> None:
    """Add a folder: each image of it is a file of the queue, what is no image is told."""
    context = wide(browser, state)
    page = watched(context.new_page(), tally)
    page.goto(url + "/console/add")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "shop" / "deeper"
        folder.mkdir(parents=True)
        for photo in photos:
            (folder / f"{photo.key.replace('-', ' ')}.png").write_bytes(photo.content)
        (folder.parent / "notes.txt").write_text("no image")
        before = page.locator("[data-room]").inner_text()
        page.set_input_files("[data-folder]", folder.parent)
        page.locator(".primary").click()
        page.locator(".outcomes li:not(.queued)").nth(2).wait_for()
    added = page.locator(".outcomes .good").count()
    expect(tally, f"a folder is added: {added} of 2", added == 2)
    room = page.locator("[data-room]").inner_text()
    expect(tally, f"the images are counted again: {room}, {before} before", room != before)
    left = page.locator("[data-left]").inner_text()
    expect(tally, f"bytes of the brief: {left}", left == "250 bytes left.")
    for bytes_, sentence in (
        (255, "1 byte left."),
        (256, "0 bytes left."),
        (257, "1 byte too many."),
    ):
        page.fill("[name=brief]", "x" * bytes_)
        left = page.locator("[data-left]").inner_text()
        expect(tally, f"bytes of the brief: {left}", left == sentence)
    context.close()


def expect(tally: Tally, what: str, true: bool) -> None:
    """Note what did not work."""
    if not true:
        tally.failed.append(what)


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
        "steps by keys that failed": (len(tally.failed), 0, not tally.failed),
    }
    for each in (*tally.violations, *tally.reports, *tally.wide, *tally.failed):
        print(each)
    for name, (value, bar, good) in measures.items():
        print(f"{name}: {value} (bar {bar}) {'ok' if good else 'short'}")
        short += not good
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
