"""What people do all day, in a browser: by keys, with a part of an image, with pins and folders.

Steps of ``tests.console.browser``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from demo import products
from tests.console.tally import Tally, expect, watched, wide


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
        page.wait_for_url("**told=pinned*")
    page.goto(url + "/console/pins")
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
