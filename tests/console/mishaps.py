"""What happens to people in a browser: input methods, held keys, odd pastes and drops, a lost line.

Steps of ``tests.console.browser``; each returns what was seen, and whether that is right.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import Image
from playwright.sync_api import Page

Seen = tuple[str, bool]

# An event with files, as a drop or a paste brings them; with text beside them where wanted.
SEND = """([selector, kind, files, text]) => {
  const data = new DataTransfer();
  for (const [name, type] of files) data.items.add(new File([name], name, { type }));
  if (text) data.items.add(text, "text/plain");
  const init = { bubbles: true, cancelable: true };
  const event = kind === "paste" ? new ClipboardEvent(kind, { ...init, clipboardData: data })
    : new DragEvent(kind, { ...init, dataTransfer: data });
  document.querySelector(selector).dispatchEvent(event);
}"""
COMPOSES = """key => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key, isComposing: true, bubbles: true, cancelable: true }))"""
NAMES = "field => [...field.files].map((each) => each.name)"


def seen(page: Page, url: str) -> Iterator[Seen]:
    """Yield what was seen of each mishap; the library has a second page of images."""
    for step in (
        composed_letters,
        held_keys,
        places,
        a_paste_of_text,
        drops,
        a_phones_photo,
        a_lost_line,
        an_end_of_a_session,
    ):
        page.goto(url + "/console/")
        yield from step(page, url)


def composed_letters(page: Page, url: str) -> Iterator[Seen]:
    """Enter that ends a composition is the input method's: nothing is saved."""
    page.locator("[data-open]").first.click()
    page.wait_for_selector("textarea")
    address = page.url
    page.focus("textarea")
    with_sent = _sent(page)
    page.evaluate(COMPOSES, "Enter")
    page.wait_for_timeout(300)
    yield "Enter of an input method saves nothing", page.url == address and not with_sent


def held_keys(page: Page, url: str) -> Iterator[Seen]:
    """A held Delete, or two in a row, deletes once, and the undo is offered."""
    for held in (True, False):
        page.goto(url + "/console/")
        sent = _sent(page)
        page.locator("[data-open]").first.focus()
        for _ in range(3):
            page.keyboard.down("Delete")
            if not held:
                page.keyboard.up("Delete")
        page.wait_for_selector(".notice button")
        page.keyboard.up("Delete")
        yield f"Delete {'held' if held else 'in a row'}: sent {len(sent)} times", len(sent) == 1
        page.locator(".notice button").dblclick()
        page.wait_for_url("**told=undone*")
    page.locator("[data-open]").first.click()
    page.wait_for_selector("textarea")
    sent = _sent(page)
    page.focus("textarea")
    page.keyboard.type("new ")
    for _ in range(4):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    page.wait_for_url("**done=*")
    conflict = page.locator(".problem").count()
    yield f"Enter held: sent {len(sent)} times", len(sent) == 1 and not conflict


def places(page: Page, url: str) -> Iterator[Seen]:
    """The focus stays at its place: after a delete, from an image, and among results."""
    focused = "document.activeElement.id"
    for number in range(12):
        page.keyboard.press("j" if number % 2 else "J")
    following = page.locator("[data-open]").nth(12).get_attribute("id")
    page.keyboard.press("Backspace")
    page.wait_for_selector(".notice button")
    yield "after a delete the next image has the focus", page.evaluate(focused) == following
    page.keyboard.press("u")
    page.wait_for_url("**told=undone*")
    page.locator("[data-open]").nth(20).click()
    # A key that is pressed before the script is there is lost.
    page.wait_for_url("**/console/images/*")
    for _ in range(2):
        before = page.url
        page.keyboard.press("j")
        page.wait_for_url(lambda now, before=before: now != before)
    sign = page.url.rpartition("/")[2].partition("?")[0]
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-grid]")
    yield "back from an image it has the focus", page.evaluate(focused) == f"at-{sign}"
    page.goto(f"{url}/console/search?like={sign}")
    results = page.locator("[data-open]").evaluate_all("links => links.map((each) => each.id)")
    page.locator("[data-open]").nth(1).click()
    page.wait_for_selector("[data-steps]")
    page.keyboard.press("j")
    page.wait_for_url(f"**/{results[2].removeprefix('at-')}?*")
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-results]")
    yield "results are gone through in their order", page.evaluate(focused) == results[2]


def a_paste_of_text(page: Page, url: str) -> Iterator[Seen]:
    """In a field the text of a paste is meant, elsewhere its image."""
    page.goto(url + "/console/search")
    sent = _sent(page)
    cell = [["image.png", "image/png"]]
    page.evaluate(SEND, ["[name=url]", "paste", cell, "https://example.com/a.jpg"])
    page.wait_for_timeout(300)
    yield "text of a sheet's cell is pasted as text", not sent
    page.evaluate(SEND, ["main", "paste", cell, ""])
    page.wait_for_selector("#why-image")
    yield "an image is pasted", len(sent) == 1


def drops(page: Page, url: str) -> Iterator[Seen]:
    """Drops add up, and each file has a line that says what became of it."""
    page.goto(url + "/console/add")
    page.locator(".primary").click()
    invalid = page.locator("[data-files]").evaluate("field => !field.checkValidity()")
    yield "Add without a file says so", invalid
    for files in (
        [["one.jpg", "image/jpeg"]],
        [["photo.HEIC", ""], ["scan.pdf", "application/pdf"]],
        [["plain", ""]],
    ):
        page.evaluate(SEND, ["[data-drop]", "drop", files, ""])
    wanted = ["one.jpg", "photo.HEIC", "scan.pdf", "plain"]
    page.wait_for_timeout(300)
    names = page.locator("[data-files]").evaluate(NAMES)
    yield f"drops add up: {names}", names == wanted
    page.locator(".primary").click()
    page.locator(".outcomes .bad").nth(len(wanted) - 1).wait_for()
    told = page.locator(".outcomes .bad .title").all_inner_texts()
    yield f"each file has its line: {told}", sorted(told) == sorted(wanted)


def a_phones_photo(page: Page, url: str) -> Iterator[Seen]:
    """A photo larger than an image may be is made smaller; a very large one before it is sent."""
    # Noise hardly compresses: 4032 x 3024 as of a camera, 6 MB or more.
    noise = Image.effect_noise((1008, 756), 90).resize((4032, 3024), Image.Resampling.BICUBIC)
    for kind, image, words in (
        ("JPEG", noise, "Added, scaled down."),
        ("BMP", noise.resize((2500, 2400)), "made smaller before it was sent"),
    ):
        file = io.BytesIO()
        image.convert("RGB").save(file, kind, quality=97)
        content = file.getvalue()
        photo = {"name": "IMG 1.JPG", "mimeType": f"image/{kind.lower()}", "buffer": content}
        page.goto(url + "/console/add")
        page.set_input_files("[data-files]", [photo])
        page.locator(".primary").click()
        told = page.locator(".outcomes .good .told").inner_text()
        yield f"{len(content) / 1e6:.1f} MB: {told}", words in told
        page.locator(".notice button").click()
        page.wait_for_url("**told=undone*")
    page.goto(url + "/console/search")
    page.set_input_files("[data-sends]", [photo])
    page.wait_for_url("**query=*")
    yield "a photo is searched with", page.locator(".asked img").count() == 1


def a_lost_line(page: Page, url: str) -> Iterator[Seen]:
    """Further pages are asked for with pauses while the server is away, and it is said."""
    asked: list[str] = []

    def lose(route: object) -> None:
        asked.append("")
        route.abort()  # type: ignore[attr-defined]

    page.route("**/console/?after=*", lose)
    page.goto(url + "/console/")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.locator("[data-failed]").wait_for()
    page.wait_for_timeout(4000)
    yield f"asked {len(asked)} times while the server is away", 1 <= len(asked) <= 4
    before = page.locator("[data-card]").count()
    page.unroute("**/console/?after=*")
    page.wait_for_function(
        "count => document.querySelectorAll('[data-card]').length > count", arg=before
    )
    yield "goes on by itself", page.locator("[data-failed]").is_hidden()


def an_end_of_a_session(page: Page, url: str) -> Iterator[Seen]:
    """It is told before it comes, the session can go on, and what is written stays."""
    left = ["43000", "300", "43000", "0"]
    page.route("**/console/session", lambda route: route.fulfill(body=left.pop(0)))
    page.clock.install()
    page.goto(url + "/console/add")
    page.fill("[name=brief]", "written")
    ending = page.locator("[data-ending]")
    yield "no end is told of a new page", ending.is_hidden()
    page.clock.fast_forward("10:00:01")
    page.wait_for_timeout(300)
    yield f"nor of a session that other tabs use: {left}", ending.is_hidden() and len(left) == 3
    page.clock.fast_forward("11:50:00")
    ending.wait_for()
    yield "its end is told", "signed out soon" in ending.inner_text()
    with page.expect_response("**/console/stay"):
        page.locator("[data-stay]").click()
    ending.wait_for(state="hidden")
    yield "it goes on", page.input_value("[name=brief]") == "written"
    page.clock.fast_forward("11:50:00")
    ending.wait_for()
    told = ending.inner_text()
    yield f"it has ended: {told}", "You are signed out" in told and "Sign in again" in told
    page.unroute("**/console/session")


def _sent(page: Page) -> list[str]:
    """Return a list that grows by each form that is sent from now on."""
    sent: list[str] = []
    page.on(
        "request", lambda request: sent.append(request.url) if request.method == "POST" else None
    )
    return sent
