"""What is wrong with a field stands beside it, and the field says so; what was written stays."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest

from tests.console.conftest import Shop
from tests.engine.image_files import jpeg

Told = tuple[str, str]


def told(page: str) -> list[Told]:
    """Return each field that is marked as wrong, with what is told beside it."""
    found = []
    for tag in re.findall(r"<(?:input|textarea)[^>]*aria-invalid=\"true\"[^>]*>", page):
        names = re.findall(r' name="(\w+)"', tag)
        ids = re.findall(r'aria-describedby="(why-\w+)', tag)
        why = re.findall(rf'id="{ids[0]}" role="alert">([^<]*)<', page)
        found.append((names[0], html.unescape(why[0])))
    return found


def first_words(page: str) -> list[Told]:
    """Return what ``told`` does, of each sentence the first words."""
    return [(name, " ".join(why.split()[:4])) for name, why in told(page)]


CLASS_ID = "A class id is"


def test_on_the_page_of_an_image(shop: Shop) -> None:
    """Each wrong field has its own sentence, however many there are."""
    sign = shop.add(jpeg(1), "kept")
    page = shop.editor.get(f"/console/images/{sign}").text
    version = re.findall(r'name="version" value="(\d+)"', page)
    fields = {"brief": "字" * 86, "class_id1": "0", "class_id2": "x", "version": version[0]}
    refused = shop.editor.send(f"/console/images/{sign}", fields)
    assert 400 == refused.status_code
    assert [
        ("brief", "The brief is longer"),
        ("class_id1", CLASS_ID),
        ("class_id2", CLASS_ID),
    ] == first_words(refused.text)
    assert 3 == refused.text.count('role="alert"'), "and nowhere else"
    assert "字" * 86 in refused.text
    assert 1 == refused.text.count("autofocus"), "the first of them is in sight"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"class_id1_do": "set", "class_id1": "70000"}, [("class_id1", CLASS_ID)]),
        ({"class_id2_do": "set"}, [("class_id2", CLASS_ID)]),
        ({"class_id2_do": "keep", "class_id2": "5"}, [("class_id2", "Choose what to set")]),
        ({"brief_do": "set", "brief": "字" * 86}, [("brief", "The brief is longer")]),
        ({"brief_do": "member", "value": "x"}, [("key", "Write the key, or")]),
        (
            {"brief_do": "member", "key": "a", "value": "字" * 86},
            [("value", "1 of the briefs")],
        ),
        ({}, []),
    ],
)
def test_in_the_form_about_several(
    shared_shop: Shop, fields: dict[str, str], expected: list[Told]
) -> None:
    """One that is wrong is told beside its field; what is of the whole form, above it."""
    address = "/console/edit/apply"
    # Stored once: an image that is there already has the same sign.
    sign = shared_shop.add(jpeg(60_123), '{"a": "b"}')
    refused = shared_shop.editor.send(address, {"sign": sign} | fields)
    assert 400 == refused.status_code
    assert expected == first_words(refused.text)
    assert 1 == refused.text.count('role="alert"')


def test_of_files(shop: Shop) -> None:
    """A class id that is none adds no file, and neither does a form without one."""
    fields = {"class_id1": "12a", "class_id2": "5"}
    refused = shop.editor.send("/console/add", fields, files={"image": ("a.jpg", jpeg(1))})
    assert 400 == refused.status_code
    assert [("class_id1", CLASS_ID)] == first_words(refused.text)
    assert 'value="12a"' in refused.text
    refused = shop.editor.send("/console/add", {"class_id1": "0"})
    assert [("image", "No file was chosen."), ("class_id1", CLASS_ID)] == first_words(refused.text)
    assert "This library is empty" in shop.looker.get("/console/").text


def test_files_that_have_nothing_wrong_can_be_sent_again(new_shop: Callable[..., Shop]) -> None:
    """The page says which were refused for another reason than their own."""
    shop = new_shop(1)
    for seed, again in ((1, False), (2, True)):
        files = {"image": ("a.jpg", jpeg(seed))}
        assert again == (" data-passing" in shop.editor.send("/console/add", files=files).text)
    page = shop.editor.send("/console/add", files={"image": ("a.svg", b"<svg/>")}).text
    assert " data-passing" not in page
