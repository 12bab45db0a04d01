"""Ten minutes of endless scroll, to the end and back again: the memory of the tab stays flat.

Run by ``make test-console``; another number of minutes as argument. Chromium's own counters are
read after a collection of garbage: bytes of the scripts' heap, nodes, listeners and documents. The
memory of the process is not: it has the answers that the program which drives Chromium may ask for.
Ends with a line for each measure; exits non-zero if one is short.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import CDPSession, Page, sync_playwright

from demo.processes import Engine
from tests.console import many
from tests.console.browser import signed_in
from tests.engine.calling import Caller
from tests.engine.databases import connected
from tests.engine.image_files import jpeg

LIBRARY: Final = "long"
IMAGES: Final = 6000
MINUTES: Final = 10.0
SAMPLES: Final = 30
RATIO_MAX: Final = 1.1
CARDS_MAX: Final = 660
"""The bound of ``console.js``, and one page more."""


# Scrolls a window's height; returns what is in sight then, and whether that is the end.
SCROLL: Final = """step => {
  scrollBy(0, step * innerHeight);
  const link = document.querySelector(step > 0 ? "[data-more]" : "[data-back]");
  const end = step > 0 ? scrollY + innerHeight >= document.body.scrollHeight - 1 : scrollY < 1;
  const inSight = [...document.querySelectorAll("[data-card]")].filter((each) => {
    const { top, bottom } = each.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  });
  return [end && link.hidden, inSight.map((each) => each.querySelector("[data-pick]").value)];
}"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The tab at a moment."""

    heap_bytes: float
    nodes: float
    listeners: float
    documents: float
    cards: int


def main() -> int:
    """Return the exit status."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    with Engine() as engine, sync_playwright() as playwright:
        keys = engine.create_library(LIBRARY)
        caller = Caller(engine.url, *keys)
        caller.call("add", image=jpeg(1), brief="b")
        caller.close()
        with connected(engine) as connection:
            many.multiply(connection, LIBRARY, IMAGES - 1)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = browser.new_context(storage_state=signed_in(browser, engine.url, keys))
        page = context.new_page()
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(engine.url + "/console/")
        samples, seen = scrolled(page, context.new_cdp_session(page), 60 * minutes)
        browser.close()
    return told(samples, seen, minutes)


def scrolled(page: Page, session: CDPSession, lasts_s: float) -> tuple[list[Sample], set[str]]:
    """Scroll for a time; return samples of the tab, and the images that were in sight."""
    session.send("Performance.enable")
    samples: list[Sample] = []
    seen: set[str] = set()
    step, began_s = 1, time.monotonic()
    while (gone_s := time.monotonic() - began_s) < lasts_s:
        at_end, in_sight = page.evaluate(SCROLL, step)
        seen.update(in_sight)
        page.wait_for_timeout(50)
        if at_end:
            step = -step
        if gone_s >= lasts_s * len(samples) / SAMPLES:
            samples.append(sample(page, session))
            print(f"{gone_s:.0f} s: {samples[-1]}")
    return samples, seen


def sample(page: Page, session: CDPSession) -> Sample:
    """Measure the tab after a collection of garbage."""
    session.send("HeapProfiler.collectGarbage")
    metrics = {
        each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]
    }
    return Sample(
        heap_bytes=metrics["JSHeapUsedSize"],
        nodes=metrics["Nodes"],
        listeners=metrics["JSEventListeners"],
        documents=metrics["Documents"],
        cards=page.locator("[data-card]").count(),
    )


def told(samples: list[Sample], seen: set[str], minutes: float) -> int:
    """Print a line for each measure and return the exit status."""
    # Flat from the moment on when the bound of cards is reached, which is soon.
    third = len(samples) // 3
    first, last = samples[1 : 1 + third], samples[-third:]
    measures = [
        (f"images seen in {minutes:g} minutes of scroll", len(seen), IMAGES, len(seen) >= IMAGES),
        (
            "most cards in the tab",
            most := max(each.cards for each in samples),
            CARDS_MAX,
            most <= CARDS_MAX,
        ),
    ]
    for name in ("heap_bytes", "nodes", "listeners", "documents"):
        before, after = (
            statistics.median(getattr(each, name) for each in part) for part in (first, last)
        )
        print(f"{name}: {before:,.0f} in the first third, {after:,.0f} in the last")
        ratio = after / before
        measures.append((f"{name}, last third to first", ratio, RATIO_MAX, ratio <= RATIO_MAX))
    for name, value, bar, good in measures:
        print(f"{name}: {value:,.6g} (bar {bar:g}) {'ok' if good else 'short'}")
    return 0 if all(good for *_, good in measures) else 1


if __name__ == "__main__":
    sys.exit(main())
