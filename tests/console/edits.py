"""Edits in a browser: by the Enter of each field, of several images with a preview, and their list.

Steps of ``tests.console.browser``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, Page

from tests.console.tally import Tally, expect, watched, wide
from tests.console.views import Mode
from tests.engine.image_files import jpeg

Seen = tuple[str, bool]


def work(browser: Browser, url: str, state: Any, tally: Tally) -> None:
    """Edit as people do, on both widths, and without scripts."""
    for width, locale in ((1440, "en-GB"), (390, "zh-CN")):
        context = Mode(width=width, locale=locale, scheme="light").context(browser, state)
        page = watched(context.new_page(), tally)
        for step in (enter_in_each_field, the_original, several_images):
            for what, true in step(page, url):
                expect(tally, f"{what} at {width} px", true)
        context.close()
    plain = browser.new_context(storage_state=state, java_script_enabled=False, locale="en-GB")
    for what, true in without_scripts(plain.new_page(), url):
        expect(tally, f"{what} without scripts", true)
    plain.close()
    context = wide(browser, state)
    page = context.new_page()
    for what, true in (*seen_of_a_selection(page, url), *a_frame_around_all(page, url)):
        expect(tally, what, true)
    for what, true in a_phones_camera(browser, url, state):
        expect(tally, what, true)
    context.close()


def enter_in_each_field(page: Page, url: str) -> Iterator[Seen]:
    """Enter in the brief and in either class id saves, and goes on to the next image."""
    for field, value in (("class_id1", "1111"), ("class_id2", "1212"), ("brief", "saved by Enter")):
        page.goto(url + "/console/?sort=oldest")
        image = page.locator("[data-open]").nth(5).get_attribute("href") or ""
        page.goto(url + image)
        page.fill(f"[name={field}]", value)
        page.press(f"[name={field}]", "Enter")
        page.wait_for_url("**done=*")
        yield f"Enter in {field} goes on", image.partition("?")[0] not in page.url
        following = page.url
        page.goto(url + image)
        yield f"Enter in {field} saves", page.input_value(f"[name={field}]") == value
        page.goto(following)
        page.keyboard.press("u")
        page.wait_for_url("**told=undone*")


def the_original(page: Page, url: str) -> Iterator[Seen]:
    """The page of an image tells the sides and the bytes of the file that was added."""
    page.goto(url + "/console/")
    page.locator("[data-open]").nth(3).click()
    page.wait_for_selector("textarea")
    told = page.locator(".facts").inner_text()
    yield f"the original is told: {told}", bool(re.search(r"\d+ \S \d+ px, [\d.]+ KiB", told))


def several_images(page: Page, url: str) -> Iterator[Seen]:
    """A key of several briefs is set: told while it is written, then in the list, and undone."""
    _open_selection(page, url)
    page.locator("[name=brief_do][value=member]").check()
    page.fill("[name=key]", "season")
    page.fill("[name=value]", "summer")
    planned = page.locator("[data-planned] li")
    planned.first.wait_for()
    told = planned.first.inner_text()
    yield f"told before: {told}", "season" in told and "summer" in told
    page.locator(".fields .primary").click()
    page.wait_for_url("**done=*")
    page.goto(url + "/console/changes")
    link = page.locator("a.told").first
    yield f"told in the list: {link.inner_text()}", "summer" in link.inner_text()
    link.click()
    page.wait_for_selector(".whole-change")
    yield "each image of it is told", page.locator(".whole-change ins").count() >= 2
    page.locator("form[action='/console/undo'] button").first.click()
    page.wait_for_url("**told=undone*")


def a_frame_around_all(page: Page, url: str) -> Iterator[Seen]:
    """In a frame around the whole image another one is drawn: it has no outside."""
    page.goto(url + "/console/")
    page.locator(".like").nth(3).click()
    page.wait_for_url("**/console/search*")
    page.locator(".part summary").click()
    for name, value in (("left", "0"), ("top", "0"), ("width", "100"), ("height", "100")):
        page.fill(f"[name={name}]", value)
    framed = page.locator("[data-framed]")
    framed.scroll_into_view_if_needed()
    sides = framed.bounding_box() or {"x": 0, "y": 0, "width": 0, "height": 0}
    for step, share in (("down", 0.25), ("up", 0.75)):
        page.mouse.move(sides["x"] + share * sides["width"], sides["y"] + share * sides["height"])
        getattr(page.mouse, step)()
    drawn = [float(page.input_value(f"[name={name}]")) for name in ("left", "width")]
    yield f"drawn: {drawn}", abs(drawn[0] - 25) < 2 and abs(drawn[1] - 50) < 2


def a_phones_camera(browser: Browser, url: str, state: Any) -> Iterator[Seen]:
    """On a phone a button opens the camera; what it takes is searched with."""
    context = browser.new_context(
        storage_state=state,
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
    )
    page = context.new_page()
    page.goto(url + "/console/search")
    button = page.locator(".photo")
    yield "a phone has a button for its camera", button.is_visible()
    yield "it asks for the camera", button.locator("input[capture=environment]").count() == 1
    photo = {"name": "IMG 1.JPG", "mimeType": "image/jpeg", "buffer": jpeg(3, (600, 800))}
    button.locator("input").set_input_files(photo)
    page.wait_for_url("**query=*")
    yield "a photo is searched with", page.locator(".asked img").count() == 1
    context.close()


def seen_of_a_selection(page: Page, url: str) -> Iterator[Seen]:
    """A value of a key is chosen and replaced where it is; other fields than those are hidden."""
    _open_selection(page, url)
    yield "no field without a choice", page.locator("[name=where]").is_hidden()
    page.locator("[name=brief_do][value=without]").check()
    yield "a key to remove has no value", page.locator("[name=value]").is_hidden()
    page.locator("[name=brief_do][value=set]").check()
    yield "a whole brief has no key", page.locator("[name=key]").is_hidden()
    page.locator("[name=brief_do][value=member]").check()
    option = page.locator("[name=where] optgroup option").first
    page.select_option("[name=where]", option.get_attribute("value"))
    page.fill("[name=value]", "another")
    page.locator("[data-planned] li").first.wait_for()
    changed = page.locator("[data-planned] li del").all_inner_texts()
    yield f"one value is replaced: {changed}", len(changed) == 1


def without_scripts(page: Page, url: str) -> Iterator[Seen]:
    """The preview is a button, and the whole change a page."""
    page.goto(url + "/console/")
    for place in (2, 5):
        page.locator("[name=sign]").nth(place).check()
    page.locator("#selection button:not(.danger)").last.click()
    page.locator("[name=brief_do][value=set]").check()
    page.fill("[name=brief]", "written without scripts")
    page.locator("[name=preview]").click()
    told = page.locator(".planned").inner_text()
    yield f"told before: {told}", "2 of 2 images change." in told
    page.locator(".fields .primary").click()
    page.goto(url + "/console/changes")
    page.locator("a.told").first.click()
    whole = page.locator(".whole-change").inner_text()
    yield "the whole change", whole.count("written without scripts") >= 2
    page.locator("form[action='/console/undo'] button").first.click()


def _open_selection(page: Page, url: str) -> None:
    """Open the form about some images of the first page, some of them with JSON."""
    page.goto(url + "/console/")
    for place in (2, 5, 6):
        page.locator("[data-pick]").nth(place).press("Space")
    page.locator("[data-selection] button:not([type]):not(.danger)").click()
    page.wait_for_url("**/console/edit")
