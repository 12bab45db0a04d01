"""What stays when people go on in a browser: what they chose and wrote, their place, the undo.

Steps of ``tests.console.browser``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, Page

from tests.console.tally import Tally, expect, watched, wide
from tests.engine.image_files import jpeg

Seen = tuple[str, bool]
FOCUSED = "document.activeElement.id"


def work(browser: Browser, url: str, state: Any, tally: Tally) -> None:
    """Go on as people do, and look what is still there."""
    context = wide(browser, state)
    page = watched(context.new_page(), tally)
    for step in (
        a_selection_in_another_language,
        words_in_another_language,
        a_conflict_in_another_language,
        several_in_another_language,
        a_form_that_is_cancelled,
        an_undo_after_escape,
        an_undo_far_down,
        results_of_a_part,
        a_pin,
        a_field_of_a_queue,
    ):
        page.goto(url + "/console/language/en?back=/console/")
        for what, true in step(page, url):
            expect(tally, f"{what} ({step.__name__})", true)
    context.close()


def _speak(page: Page) -> None:
    """Choose the other language, and wait until the page is in it."""
    other = "zh-CN" if page.evaluate("document.documentElement.lang") == "en" else "en"
    page.locator("[data-language]").click()
    page.wait_for_function("lang => document.documentElement.lang === lang", arg=other)
    page.wait_for_function("document.documentElement.classList.contains('scripts')")


def a_selection_in_another_language(page: Page, url: str) -> Iterator[Seen]:
    """What is selected stays so, also an image of a page that is not loaded any more."""
    page.wait_for_selector("[data-grid]")
    for place in (1, 3):
        page.locator("[data-pick]").nth(place).press("Space")
    before = page.locator("[data-pick]:checked").evaluate_all("all => all.map((b) => b.value)")
    _speak(page)
    after = page.locator("[data-pick]:checked").evaluate_all("all => all.map((b) => b.value)")
    yield f"still selected: {after}", before == after and len(after) == 2
    yield "they are counted", page.locator("[data-count]").inner_text() == "2"
    page.evaluate("keep({ picked: ['1,2'] })")
    page.goto(url + "/console/")
    yield "one beyond is counted", page.locator("[data-count]").inner_text() == "1"
    page.locator("[data-clear]").click()
    yield "and cleared", page.locator("[data-selection]").is_hidden()
    page.reload()
    yield "once", page.locator("[data-selection]").is_hidden()


def words_in_another_language(page: Page, url: str) -> Iterator[Seen]:
    """What is written on the page of an image is there, and is about the image as it was then."""
    page.locator("[data-open]").nth(3).click()
    page.wait_for_selector("textarea")
    page.fill("[name=brief]", "half a sentence")
    page.fill("[name=class_id2]", "77")
    page.locator("[name=version]").evaluate("field => { field.value = '7'; }")
    _speak(page)
    written = [page.input_value(f"[name={name}]") for name in ("brief", "class_id2", "version")]
    yield f"written: {written}", written == ["half a sentence", "77", "7"]
    page.reload()
    yield "once", page.input_value("[name=brief]") != "half a sentence"


def a_conflict_in_another_language(page: Page, url: str) -> Iterator[Seen]:
    """Both states of an image are on the page in the other language, too."""
    page.locator("[data-open]").nth(3).click()
    page.wait_for_selector("textarea")
    page.locator("[name=version]").evaluate("field => { field.value = '1'; }")
    page.fill("[name=brief]", "my own words")
    page.locator("button[value=stay]").click()
    page.wait_for_selector(".problem")
    _speak(page)
    problem = page.locator(".problem").inner_text()
    yield f"both are told: {problem}", bool(page.locator(".problem dd").count())
    yield "mine is written", page.input_value("[name=brief]") == "my own words"
    yield "it is another language", "Somebody" not in problem


def several_in_another_language(page: Page, url: str) -> Iterator[Seen]:
    """The form about a selection is the same form, with its images and what is written."""
    for place in (2, 5):
        page.locator("[data-pick]").nth(place).press("Space")
    page.locator("[data-selection] button:not([type]):not(.danger)").click()
    page.wait_for_url("**/console/edit")
    page.locator("[name=class_id1_do][value=set]").check()
    page.fill("[name=class_id1]", "4321")
    images = page.locator("[name=sign]").count()
    _speak(page)
    yield "the form has its images", page.locator("[name=sign]").count() == images == 2
    yield "and its value", page.input_value("[name=class_id1]") == "4321"
    yield "and its choice", page.locator("[name=class_id1_do][value=set]").is_checked()


def a_form_that_is_cancelled(page: Page, url: str) -> Iterator[Seen]:
    """Back from the form about a selection it is selected still; after a save it is not."""
    for leave in ("Escape", "cancel", "save"):
        page.goto(url + "/console/")
        page.wait_for_selector("[data-grid]")
        for place in (2, 5):
            page.locator("[data-pick]").nth(place).press("Space")
        page.locator("[data-selection] button:not([type]):not(.danger)").click()
        page.wait_for_url("**/console/edit")
        if leave == "Escape":
            page.keyboard.press("Escape")
        elif leave == "cancel":
            page.locator(".actions a.quiet").click()
        else:
            page.locator("[name=class_id2_do][value=set]").check()
            page.fill("[name=class_id2]", "4322")
            page.locator(".fields .primary").click()
        page.wait_for_selector("[data-grid]")
        selected = page.locator("[data-pick]:checked").count()
        yield f"selected after {leave}: {selected}", selected == (0 if leave == "save" else 2)
        if leave != "save":
            page.keyboard.press("Escape")
    page.keyboard.press("u")
    page.wait_for_url("**told=undone*")


def an_undo_after_escape(page: Page, url: str) -> Iterator[Seen]:
    """Whoever saves and goes back to the list finds the undo there."""
    page.locator("[data-open]").nth(4).click()
    page.wait_for_selector("textarea")
    before = page.input_value("[name=brief]")
    page.fill("[name=brief]", "to be undone")
    page.locator("button[value=stay]").click()
    page.wait_for_url("**done=*")
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-grid]")
    yield "the undo is in the list", page.locator(".notice button").is_visible()
    page.keyboard.press("u")
    page.wait_for_url("**told=undone*")
    page.locator("[data-open]").nth(4).click()
    page.wait_for_selector("textarea")
    yield "it is undone", page.input_value("[name=brief]") == before


def an_undo_far_down(page: Page, url: str) -> Iterator[Seen]:
    """After a delete and its undo the focus is where it was, in sight."""
    page.wait_for_selector("[data-grid]")
    at = page.locator("[data-open]").nth(40)
    sign = at.get_attribute("id")
    at.focus()
    page.keyboard.press("Delete")
    page.wait_for_url("**done=*")
    following = page.evaluate(FOCUSED)
    page.keyboard.press("u")
    page.wait_for_url("**told=undone*")
    focused = page.evaluate(FOCUSED)
    yield f"focused: {focused}", focused == following != ""
    top = page.evaluate("document.activeElement.getBoundingClientRect().top")
    yield f"it is in sight: {top}", 0 <= top < 900
    yield "the image is back", page.locator(f"[id='{sign}']").count() == 1


def results_of_a_part(page: Page, url: str) -> Iterator[Seen]:
    """They are in sight, in a window of 900 px."""
    page.locator(".like").nth(3).click()
    page.wait_for_url("**/console/search*")
    page.locator(".part summary").click()
    page.locator(".part .primary").click()
    page.wait_for_url("**query=*")
    page.wait_for_selector("[data-card]")
    page.wait_for_function("scrollY > 0")
    boxes = [page.locator(each).first.bounding_box() for each in ("#results", "[data-card] .mat")]
    heads = [box["y"] if box else -1 for box in boxes]
    yield f"results begin at {heads}", all(56 <= each < 400 for each in heads)


def a_pin(page: Page, url: str) -> Iterator[Seen]:
    """Whoever pins stays among the results, at the image."""
    page.locator(".like").nth(3).click()
    page.wait_for_selector("[name=hit]")
    hit = page.locator("[name=hit]").nth(2).get_attribute("value")
    page.locator("[name=hit]").nth(2).click()
    page.wait_for_url("**told=pinned*")
    yield "at the image", page.evaluate(FOCUSED) == f"at-{hit}"
    page.locator(".notice a").click()
    page.wait_for_selector(".pins")
    page.locator(".pins form button").first.click()
    page.wait_for_url("**told=unpinned*")
    yield "an unpin has an undo", page.locator(".notice button").is_visible()


def a_field_of_a_queue(page: Page, url: str) -> Iterator[Seen]:
    """A class id that is none is told once, at its field; the files stay chosen."""
    page.goto(url + "/console/add")
    names = ("a.jpg", "b.jpg", "c.jpg")
    files = [{"name": each, "mimeType": "image/jpeg", "buffer": jpeg(1)} for each in names]
    page.set_input_files("[data-files]", files)
    page.fill("[name=class_id1]", "12a")
    page.locator(".primary").click()
    page.wait_for_selector("#why-class_id1")
    page.locator("[data-stop]").wait_for(state="hidden")
    yield "told once", page.locator("#why-class_id1").count() == 1
    yield "the field is marked", page.get_attribute("[name=class_id1]", "aria-invalid") == "true"
    chosen = page.locator("[data-files]").evaluate("field => field.files.length")
    yield f"still chosen: {chosen}", chosen == len(names)
    lines = page.locator(".outcomes li").all_inner_texts()
    yield (
        f"a line for each: {lines}",
        all(name in line for name, line in zip(names, lines, strict=True)),
    )
