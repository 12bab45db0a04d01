"""Every view of the console as a person opens it, and the modes in which it is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page

from tests.engine.image_files import jpeg

TIMEOUT_MS = 180_000


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A window, a language, and the colours that the system asks for."""

    width: int
    locale: str
    scheme: Literal["light", "dark"]
    colours: Literal["", "contrast", "forced"] = ""

    def __str__(self) -> str:
        """Return what the mode's screenshots have in their names."""
        parts = (self.locale[:2], self.scheme, self.colours, str(self.width))
        return "-".join(part for part in parts if part)

    def context(self, browser: Browser, state: Any) -> BrowserContext:
        """Return a browser in this mode with somebody's cookies."""
        context = browser.new_context(
            storage_state=state,
            viewport={"width": self.width, "height": 900 if self.width > 600 else 844},
            locale=self.locale,
            color_scheme=self.scheme,
            contrast="more" if self.colours == "contrast" else "no-preference",
            forced_colors="active" if self.colours == "forced" else "none",
        )
        # A busy machine takes its time.
        context.set_default_timeout(TIMEOUT_MS)
        return context


MODES = (
    *(
        Mode(width=width, locale=locale, scheme=scheme)
        for width in (390, 1440)
        for locale in ("en-GB", "zh-CN")
        for scheme in ("light", "dark")
    ),
    Mode(width=1440, locale="en-GB", scheme="light", colours="contrast"),
    Mode(width=390, locale="zh-CN", scheme="dark", colours="contrast"),
    Mode(width=390, locale="en-GB", scheme="light", colours="forced"),
    Mode(width=1440, locale="zh-CN", scheme="dark", colours="forced"),
)

PAIRS = (("en-GB", "light"), ("zh-CN", "dark"))
SHOWN = [mode for mode in MODES if (mode.locale, mode.scheme) in PAIRS]
"""The modes of the screenshots."""


def opened(page: Page, url: str, again: bytes) -> Iterator[str]:
    """Open each view in turn and yield its name; nothing of the library is changed.

    ``again`` is a file of an image that is stored.
    """
    page.goto(url + "/console/")
    image = page.locator("[data-open]").nth(4).get_attribute("href") or ""
    sign = image.rpartition("/")[2].partition("?")[0]
    yield "images"
    for name, address in {
        "image": image,
        "search": f"/console/search?like={sign}#results",
        "compare": f"/console/compare?like={sign}",
        "ask": "/console/search",
        "pins": "/console/pins",
        "doubles": "/console/doubles",
        "products": "/console/doubles?kind=product",
        "dismissed": "/console/doubles/dismissed",
        "library": "/console/library",
        "add": "/console/add",
        "changes": "/console/changes",
        "empty": "/console/?text=nothing+like+it",
        "error": "/console/nothing",
        "sign-in": "/console/sign-in",
    }.items():
        page.goto(url + address)
        yield name
    page.goto(url + "/console/changes?kind=edit")
    page.locator("a.told").first.click()
    page.wait_for_url("**/console/changes/*")
    yield "change"
    page.goto(f"{url}/console/search?like={sign}")
    page.locator(".part summary").click()
    page.locator(".part .primary").click()
    page.wait_for_url("**query=*")
    yield "part"
    page.locator(".calls > summary").click()
    page.locator(".calls").scroll_into_view_if_needed()
    yield "calls"
    page.goto(url + "/console/")
    for place in (0, 2, 3, 7):
        page.locator("[data-pick]").nth(place).press("Space")
    yield "selected"
    page.locator("[data-selection] button:not([type]):not(.danger)").click()
    page.wait_for_url("**/console/edit")
    page.locator("[name=brief_do][value=member]").check()
    page.fill("[name=key]", "on")
    page.fill("[name=value]", "marble")
    page.locator("[data-planned] li").first.wait_for()
    yield "bulk"
    page.goto(url + image)
    page.locator("[name=version]").evaluate("field => { field.value = '1'; }")
    page.fill("[name=brief]", "my own words for it")
    page.locator("button[value=stay]").click()
    page.wait_for_selector(".problem")
    yield "conflict"
    page.goto(url + "/console/add")
    files = [("drawing.svg", b"<svg/>"), ("small.jpg", jpeg(1, (90, 90))), ("again.png", again)]
    page.set_input_files(
        "[data-files]",
        [{"name": name, "mimeType": "image/jpeg", "buffer": content} for name, content in files],
    )
    page.locator(".primary").click()
    page.locator(".outcomes").nth(len(files) - 1).wait_for()
    page.locator(".outcomes .queued").first.wait_for(state="detached")
    yield "outcomes"
    page.route("**/console/session", lambda route: route.fulfill(body="300"))
    page.clock.install()
    page.goto(url + image)
    page.clock.fast_forward("12:00:00")
    page.locator("[data-ending]").wait_for()
    page.clock.resume()
    yield "ending"
    page.unroute("**/console/session")
    page.goto(url + "/console/stay")
    yield "stay"
    page.goto(url + image)
    page.context.clear_cookies()
    page.fill("[name=brief]", "my own words for it")
    page.locator("button[value=stay]").click()
    page.wait_for_selector("[data-signed-out]")
    yield "signed-out"
