"""How soon the first image of a page is seen, and where the time goes.

Run by ``make test-console``. Chromium with an empty cache opens the first page of a library whose
thumbnails nobody has asked for yet (cold), and once more with an empty cache (warm). Its window is
open before, as a person's is: a new one takes a second of processor time. The first frame with a
decoded thumbnail in the window counts. Times are medians of several libraries; on a busy machine
they are no measure. What a busy machine does not change stands beside them: the requests that the
first image waits for, and the processor time of the engine with its database and of the browser.
Ends with a line for each measure; exits non-zero if one is short.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from demo.processes import Engine
from tests.console.browser import wide
from tests.console.pages_at_scale import processor_ns
from tests.console.shelves import drawings, fill
from tests.engine.calling import Caller
from tests.engine.databases import postmaster

LIBRARIES: Final = 5
IMAGES: Final = 30
BARS: Final = {"first image visible, ms": 300.0, "requests that it waits for": 3.0}
IDLE_MS: Final = 10.0
"""Processor time of a browser at rest in half a second."""
SETTLED_S: Final = 15.0

# The first frame in which a thumbnail is in sight, decoded.
WATCH: Final = """
window.firstImage = new Promise((done) => {
  const look = () => {
    const seen = [...document.querySelectorAll("[data-card] img")].find((each) =>
      each.complete && each.naturalWidth && each.getBoundingClientRect().top < innerHeight);
    const note = (now) => done([now, seen.src]);
    if (seen) seen.decode().then(() => requestAnimationFrame(note));
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
});
"""
PARTS: Final = """async () => {
  const [seen, source] = await window.firstImage;
  const [page] = performance.getEntriesByType("navigation");
  const image = performance.getEntriesByName(source)[0];
  const blocking = performance.getEntriesByType("resource").filter((each) =>
    each.renderBlockingStatus === "blocking");
  return {
    "page asked and answered, ms": page.responseEnd,
    "until its first thumbnail is asked for, ms": image.startTime - page.responseEnd,
    "thumbnail asked and answered, ms": image.responseEnd - image.startTime,
    "until it is seen, ms": seen - image.responseEnd,
    "style was there at, ms": Math.max(...blocking.map((each) => each.responseEnd)),
    "first image visible, ms": seen,
    "requests that it waits for": 2 + blocking.length,
  };
}"""


def main() -> int:
    """Return the exit status."""
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    photos = drawings()[:IMAGES]
    with Engine() as engine, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        parents = [engine.pid, postmaster(engine)]
        for number in range(LIBRARIES):
            keys = engine.create_library(f"shop {number}")
            caller = Caller(engine.url, *keys)
            fill(caller, photos)
            caller.close()
            # Signing in opens the page: that of another library, whose thumbnails these are not.
            state = _signed_in_without_images(browser, engine.url, keys)
            for kind in found:
                found[kind].append(opened(browser, engine.url, state, parents))
        browser.close()
    return told(found)


def _signed_in_without_images(browser: Browser, url: str, keys: tuple[str, str]) -> Any:
    context = wide(browser)
    page = context.new_page()
    page.route("**/*.webp", lambda route: route.abort())
    page.goto(url + "/console/sign-in")
    page.fill("[name=name]", keys[0])
    page.fill("[name=password]", keys[1])
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-grid]")
    state = context.storage_state()
    context.close()
    return state


def opened(browser: Browser, url: str, state: Any, parents: Sequence[int]) -> dict[str, float]:
    """Open the first page in a browser that has nothing in its cache; return what it took.

    ``parents``: the processes of the engine and its database.
    """
    context = wide(browser, state)
    page = context.new_page()
    page.add_init_script(WATCH)
    settle(page)
    engine, own = processor_ns(parents), processor_ns(browsers())
    page.goto(url + "/console/", wait_until="commit")
    parts: dict[str, float] = page.evaluate(PARTS)
    used = {
        "processor time of engine and database, ms": spent_ms(engine, processor_ns(parents)),
        "processor time of the browser, ms": spent_ms(own, processor_ns(browsers())),
    }
    context.close()
    return parts | used


def settle(page: Page) -> None:
    """Wait until the browser has opened its window and rests."""
    until_s = time.monotonic() + SETTLED_S
    while time.monotonic() < until_s:
        before = processor_ns(browsers())
        page.wait_for_timeout(500)
        if spent_ms(before, processor_ns(browsers())) < IDLE_MS:
            return


def browsers() -> list[int]:
    """Return the processes of Chromium that this one has started."""
    children = psutil.Process().children(recursive=True)
    return [each.pid for each in children if each.name().startswith("chrom")]


def spent_ms(before: dict[Any, int], after: dict[Any, int]) -> float:
    """Return the processor time between two answers of ``processor_ns``."""
    return sum(used - before.get(key, 0) for key, used in after.items()) / 1e6


def told(found: dict[str, list[dict[str, float]]]) -> int:
    """Print a line for each measure and return the exit status."""
    short = 0
    for kind, times in found.items():
        for part in times[0]:
            values = [each[part] for each in times]
            value = statistics.median(values)
            line = f"{kind}: {part}: {value:.0f} ({min(values):.0f} to {max(values):.0f})"
            if part in BARS:
                good = value <= BARS[part]
                short += not good
                line += f" (bar {BARS[part]:g}) {'ok' if good else 'short'}"
            print(line)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
