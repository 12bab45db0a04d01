"""What people lose sight of: a selection, another tab, an offer that ends, a long queue.

Steps of ``tests.console.browser``, as ``tests.console.mishaps`` has them.
"""

from __future__ import annotations

from collections.abc import Iterator

from playwright.sync_api import Page

from tests.console.mishaps import Seen
from tests.engine.image_files import jpeg

PICKED = "[data-pick]:checked"


def seen(page: Page, url: str, other: tuple[str, str]) -> Iterator[Seen]:
    """Yield what was seen; ``other`` is the key pair of another library that has images."""
    yield from a_selection_that_comes_back(page, url)
    yield from a_queue_that_is_stopped(page, url)
    yield from an_offer_in_use(page, url)
    yield from another_library_in_another_tab(page, url, other)


def a_selection_that_comes_back(page: Page, url: str) -> Iterator[Seen]:
    """Browsers check boxes again for who comes back: the count says so, and Clear is there."""
    for how in ("back", "reload"):
        page.goto(url + "/console/")
        for place in range(3):
            page.locator("[data-pick]").nth(place).check()
        if how == "back":
            page.locator("[data-open]").nth(5).click()
            page.wait_for_selector("textarea")
            page.go_back()
        else:
            page.reload()
        page.wait_for_selector("[data-grid]")
        page.wait_for_timeout(300)
        picked, told = page.locator(PICKED).count(), page.locator("[data-count]").inner_text()
        hidden = page.locator("#selection").is_hidden()
        told = "0" if hidden else told
        yield f"after {how} {picked} are selected, {told} told", str(picked) == told


def a_queue_that_is_stopped(page: Page, url: str) -> Iterator[Seen]:
    """Each file has a line from the beginning; what was not sent at a stop stays chosen."""
    page.goto(url + "/console/add")
    files = [
        {"name": f"{number}.jpg", "mimeType": "image/jpeg", "buffer": jpeg(900 + number)}
        for number in range(4)
    ]
    page.set_input_files("[data-files]", files)  # type: ignore[arg-type]
    # The first one is answered when somebody has looked.
    held: list[object] = []
    page.route("**/console/add", lambda route: held.append(route))
    page.locator(".primary").click()
    page.locator(".outcomes").nth(3).wait_for()
    told = page.locator(".outcomes .told").all_inner_texts()
    sending = told == ["Is being sent …", *["Waits for its turn."] * 3]
    yield f"each file has its line: {told}", sending
    page.locator("[data-stop]").click()
    held[0].continue_()  # type: ignore[attr-defined]
    page.locator(".outcomes .queued").first.wait_for(state="detached")
    page.unroute("**/console/add")
    added, kept = page.locator(".outcomes .good").count(), page.locator(".outcomes .bad").count()
    chosen = page.locator("[data-files]").evaluate("field => field.files.length")
    counts = page.locator("[data-counted]").inner_text()
    yield (
        f"stopped: {added} added, {kept} kept, {chosen} chosen",
        (added, kept, chosen) == (1, 3, 3),
    )
    yield f"counted: {counts}", counts == "1 of 4 files done, 0 not added."
    page.locator(".notice button").click()
    page.wait_for_url("**told=undone*")


def an_offer_in_use(page: Page, url: str) -> Iterator[Seen]:
    """The offer to undo does not go while the focus is in it, and goes when that has left."""
    page.clock.install()
    page.goto(url + "/console/")
    page.locator("[data-open]").first.focus()
    page.keyboard.press("Delete")
    page.wait_for_selector(".notice button")
    page.locator(".notice button").focus()
    page.clock.fast_forward(31_000)
    yield "the offer stays while it has the focus", page.locator(".notice").count() == 1
    page.locator("[data-open]").first.focus()
    page.clock.fast_forward(31_000)
    yield "and goes afterwards", page.locator(".notice").count() == 0
    page.reload()
    page.locator(".notice button").click()
    page.wait_for_url("**told=undone*")


def another_library_in_another_tab(page: Page, url: str, other: tuple[str, str]) -> Iterator[Seen]:
    """Who signs in to another library in another tab never sees both in one list."""
    page.goto(url + "/console/")
    one = page.locator(".brand").inner_text()
    tab = page.context.new_page()
    tab.goto(url + "/console/sign-in")
    tab.fill("[name=name]", other[0])
    tab.fill("[name=password]", other[1])
    tab.keyboard.press("Enter")
    tab.wait_for_selector("[data-grid]")
    theirs = {each.get_attribute("id") for each in tab.locator("[data-open]").all()}
    tab.close()
    page.bring_to_front()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.locator(".brand").filter(has_not_text=one).wait_for()
    page.wait_for_selector("[data-grid]")
    shown = {each.get_attribute("id") for each in page.locator("[data-open]").all()}
    yield f"{len(shown)} images of one library", bool(shown) and shown <= theirs
