"""How soon the first image of a page is seen, and where the time goes.

Run by ``make test-console``. Chromium with an empty cache opens the first page of a library whose
thumbnails nobody has asked for yet (cold), and once more with an empty cache (warm). The first
frame with a decoded thumbnail in the window counts. Times are medians of several libraries; on a
busy machine they are no measure. Ends with a line for each measure; exits non-zero if one is short.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from typing import Any, Final

from playwright.sync_api import Browser, sync_playwright

from demo.processes import Engine
from tests.console.browser import drawings, fill, wide
from tests.engine.calling import Caller

LIBRARIES: Final = 5
IMAGES: Final = 30
FIRST_MS_MAX: Final = 300.0

# Notes the first frame in which a thumbnail is in sight, decoded.
WATCH: Final = """
const look = () => {
  const seen = [...document.querySelectorAll("[data-card] img")].find((each) =>
    each.complete && each.naturalWidth && each.getBoundingClientRect().top < innerHeight);
  const note = (now) => { window.firstImage = [now, seen.src]; };
  if (seen) seen.decode().then(() => requestAnimationFrame(note));
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
PARTS: Final = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const [seen, source] = window.firstImage;
  const image = performance.getEntriesByName(source)[0];
  const style = performance.getEntriesByType("resource").find((each) => each.name.endsWith(".css"));
  return {
    "page asked and answered": page.responseEnd,
    "until its first thumbnail is asked for": image.startTime - page.responseEnd,
    "thumbnail asked and answered": image.responseEnd - image.startTime,
    "until it is seen": seen - image.responseEnd,
    "style was there at": style.responseEnd,
    "first image visible": seen,
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
        for number in range(LIBRARIES):
            keys = engine.create_library(f"shop {number}")
            caller = Caller(engine.url, *keys)
            fill(caller, photos)
            caller.close()
            # Signing in opens the page: that of another library, whose thumbnails these are not.
            state = _signed_in_without_images(browser, engine.url, keys)
            for kind in found:
                found[kind].append(opened(browser, engine.url, state))
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


def opened(browser: Browser, url: str, state: Any) -> dict[str, float]:
    """Open the first page in a browser that has nothing in its cache; return times in ms."""
    context = wide(browser, state)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(url + "/console/")
    page.wait_for_function("window.firstImage")
    parts: dict[str, float] = page.evaluate(PARTS)
    context.close()
    return parts


def told(found: dict[str, list[dict[str, float]]]) -> int:
    """Print a line for each measure and return the exit status."""
    short = 0
    for kind, times in found.items():
        for part in times[0]:
            values = [each[part] for each in times]
            value = statistics.median(values)
            line = f"{kind}: {part}, ms: {value:.0f} ({min(values):.0f} to {max(values):.0f})"
            if part == "first image visible":
                good = value <= FIRST_MS_MAX
                short += not good
                line += f" (bar {FIRST_MS_MAX:g}) {'ok' if good else 'short'}"
            print(line)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
