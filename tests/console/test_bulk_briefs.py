"""Briefs of a selection: values with counts, keys set or removed, texts replaced where they are."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as any_
from psycopg_pool import ConnectionPool

from productsearch_engine.console import briefs
from productsearch_engine.console.briefs import Edit, LongBriefsError, Where
from productsearch_engine.console.members import members, with_member, without
from productsearch_engine.limits import SELECTION_MAX
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import change_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

_JSON = any_.recursive(
    any_.none() | any_.booleans() | any_.integers() | any_.floats(allow_nan=False) | any_.text(),
    lambda each: any_.lists(each, max_size=3) | any_.dictionaries(any_.text(), each, max_size=3),
    max_leaves=6,
)
_OBJECTS = any_.dictionaries(any_.text(), _JSON, max_size=5)
_STYLES: Any = any_.sampled_from(
    [{}, {"ensure_ascii": False}, {"separators": (",", ":")}, {"indent": 2}, {"indent": "\t"}]
)


@drawn(_OBJECTS, _STYLES, any_.text(), any_.text())
def test_members_are_changed_in_their_text(
    made: dict[str, Any], style: Any, key: str, value: str
) -> None:
    """However an object is written, the result is the object with that member changed."""
    text = json.dumps(made, **style)
    found = members(text)
    assert found is not None
    assert made == {each.key: each.value for each in found}
    assert made | {key: value} == json.loads(with_member(text, key, value))
    for known in [key, *made]:
        rest = {each: made[each] for each in made if each != known}
        assert rest == json.loads(without(text, known))
    assert text == without(text, f"{key}{''.join(made)}-")


@drawn(any_.text())
def test_what_is_no_object_has_no_members(text: str) -> None:
    """A brief is any text."""
    assert members(text) is None or isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        ('{"n": 1.50, "s": 2}', Edit(doing="member", key="s", value="3"), '{"n": 1.50, "s": 3}'),
        ('{"n":1,"s":"a"}', Edit(doing="member", key="t", value="ü"), '{"n":1,"s":"a","t":"ü"}'),
        ('{"s": "\\u7ea2"}', Edit(doing="member", key="s", value="蓝"), '{"s": "\\u84dd"}'),
        ('{"n": 1}', Edit(doing="member", key="n", value="2"), '{"n": 2}'),
        ('{"n": 1}', Edit(doing="member", key="n", value="NaN"), '{"n": "NaN"}'),
        ('{"n": 1}', Edit(doing="member", key="n", value=" 10.50 "), '{"n": 10.50}'),
        ('{"n": 1}', Edit(doing="member", key="n", value="-0"), '{"n": -0}'),
        ('{"n": 1}', Edit(doing="member", key="n", value="1e5"), '{"n": 1e5}'),
        ('{"n": 1}', Edit(doing="member", key="n", value="1e400"), '{"n": "1e400"}'),
        ('{"n": 1}', Edit(doing="member", key="n", value="-1e400"), '{"n": "-1e400"}'),
        ('{"n": 1}', Edit(doing="member", key="n", value="null"), '{"n": null}'),
        ('{"n": "1"}', Edit(doing="member", key="n", value="2"), '{"n": "2"}'),
        ('{"a": 1, "a": 2}', Edit(doing="without", key="a"), "{}"),
        ("", Edit(doing="member", key="a", value="b"), '{"a": "b"}'),
        ("text", Edit(doing="member", key="a", value="b"), None),
        ('["a"]', Edit(doing="without", key="a"), None),
        ('{"a": "b"}', Edit(doing="member", key="a", value="b"), None),
        ('{"a": "b"}', Edit(doing="member", key="a", value="c", where=Where(lacking=True)), None),
        ("old", Edit(doing="set", text="new", where=Where(text="old")), "new"),
        ("other", Edit(doing="set", text="new", where=Where(text="old")), None),
    ],
)  # fmt: skip
def test_what_an_edit_makes_of_a_brief(before: str, edit: Edit, after: str | None) -> None:
    """Only what is meant changes, and only in its own place."""
    assert [after and after.encode()] == briefs.edited([before.encode()], edit)


def test_no_brief_becomes_too_long() -> None:
    """One that would is counted, and none is changed."""
    some = [b'{"a": "%s"}' % (b"x" * 240), b"{}"]
    with pytest.raises(LongBriefsError) as long:
        briefs.edited(some, Edit(doing="member", key="key", value="value" * 4))
    assert 1 == long.value.count


def test_counts_are_bounded() -> None:
    """Of a thousand briefs with many keys and values: the most frequent, and how many more."""
    some = [
        json.dumps({f"k{key}": number % 700 for key in range(20)}, separators=(",", ":")).encode()
        for number in range(SELECTION_MAX)
    ]
    found = briefs.counted(some + [b"text %d" % number for number in range(SELECTION_MAX)])
    assert (briefs.KEYS_MAX, 20 - briefs.KEYS_MAX) == (len(found.keys), found.more_keys)
    first = found.keys[0]
    assert (SELECTION_MAX, briefs.VALUES_MAX) == (first.count, len(first.offered))
    assert (2, 700 - briefs.VALUES_MAX) == (first.offered[0][1], first.more)
    assert SELECTION_MAX - briefs.VALUES_MAX == found.more_texts


def stored(shop: Shop) -> list[str]:
    """Return the briefs of a library, in order."""
    lines = shop.editor.get("/console/library/images.jsonl").text.splitlines()
    return sorted(json.loads(line)["brief"] for line in lines)


def test_keys_of_a_selection(shop: Shop) -> None:
    """Values with counts; one is replaced where it is so; told before, and undone after."""
    colours = ["red", "red", "blue"]
    known = [
        shop.add(jpeg(n), json.dumps({"colour": each, "sku": f"S-{n}"}))
        for n, each in enumerate(colours)
    ]
    known.append(shop.add(jpeg(3), "a plain brief"))
    before, chosen = stored(shop), [("sign", each) for each in known]
    page = shop.editor.send("/console/edit", chosen).text
    tags = re.findall(r'<span class="tag">([^<]*) <b>([0-9]+)</b>', page)
    assert {("red", "2"), ("blue", "1"), ("S-0", "1"), ("a plain brief", "1")} <= {*tags}
    where = re.search(r'<option value="([^"]*)" >colour: red \(2\)', page)
    assert where
    fields = [("brief_do", "member"), ("value", "crimson"), ("where", '["colour", "red"]')]
    assert '["colour", "red"]' == where[1].replace("&#34;", '"')
    preview = shop.editor.send("/console/edit", [*chosen, *fields, ("preview", "1")]).text
    assert "2 of 4 images change." in preview
    assert re.search(r"colour</span> <del>red</del> → <ins>crimson</ins>", preview)
    assert before == stored(shop)
    done = shop.editor.send("/console/edit/apply", [*chosen, *fields])
    assert 2 == sum('"crimson"' in each for each in stored(shop))
    told = shop.editor.get(done.headers["location"]).text
    assert "2 images changed." in told
    shop.editor.send("/console/undo", {"change": change_of(done)})
    assert before == stored(shop)
    for fields, wanted in (
        ([("brief_do", "without"), ("key", "sku")], 3),
        ([("brief_do", "member"), ("key", "new"), ("value", "x"), ("where", "lacking")], 3),
        ([("brief_do", "set"), ("brief", "other"), ("where", '["a plain brief"]')], 1),
    ):
        done = shop.editor.send("/console/edit/apply", [*chosen, *fields])
        assert wanted == sum(each not in before for each in stored(shop)), fields
        shop.editor.send("/console/undo", {"change": change_of(done)})
        assert before == stored(shop)


def test_class_ids_of_a_selection(shop: Shop) -> None:
    """The most frequent ones, of equal ones the lowest first, and how many more there are."""
    known = [shop.add(jpeg(n), class_id1=str(20 - n % 11)) for n in range(12)]
    page = shop.editor.send("/console/edit", [("sign", each) for each in known]).text
    told = page.partition("Class id 1")[2].partition("</p>")[0]
    tags = re.findall(r'<span class="tag">([^<]*) <b>([0-9]+)</b>', told)
    assert [("20", "2"), *((str(each), "1") for each in range(10, 17))] == tags
    assert "3 further values" in told


def test_what_is_not_done(shop: Shop) -> None:
    """Nothing to change, no key, a choice that is none, a text beside another choice."""
    chosen = [("sign", shop.add(jpeg(1), '{"a": "b"}'))]
    for fields, said in (
        ([("brief_do", "member"), ("key", "a"), ("value", "b")], "No image changes"),
        ([("brief_do", "member"), ("value", "b")], "Write the key"),
        ([("brief_do", "without"), ("key", "a"), ("where", "[1]")], "could not be read"),
        ([("brief_do", "without"), ("key", "a"), ("where", "[" * 9999)], "could not be read"),
        ([("brief_do", "set"), ("brief", "x"), ("key", "a")], "changes nothing"),
        ([("brief_do", "member"), ("key", "a"), ("value", "x" * 250)], "1 of the briefs"),
    ):
        answer = shop.editor.send("/console/edit/apply", [*chosen, *fields])
        assert (400, True) == (answer.status_code, said in answer.text), fields
    assert ['{"a": "b"}'] == stored(shop)


@one_postgresql
def test_a_thousand_images(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """As many as a selection may have, each with a brief of its own, are one change."""
    shop.add(jpeg(1), "b")
    with pool.connection() as connection:
        many.multiply(connection, shop.name, SELECTION_MAX - 1)
        connection.execute(
            "update images set brief = convert_to(format('{\"nr\": \"%%s\"}', sign), 'UTF8')"
            " where library_id = (select id from libraries where name = %s)",
            [shop.name],
        )
        chosen = [("sign", sign) for sign in many.stored(connection, shop.name)]
    page = shop.editor.send("/console/edit", chosen)
    assert "1,000 different briefs" in page.text
    assert len(page.content) < 400_000
    fields = [("brief_do", "member"), ("key", "season"), ("value", "summer")]
    preview = shop.editor.send("/console/edit", [*chosen, *fields, ("preview", "1")]).text
    assert "1,000 of 1,000 images change." in preview
    done = shop.editor.send("/console/edit/apply", [*chosen, *fields])
    assert SELECTION_MAX == sum('"season": "summer"' in each for each in stored(shop))
    shop.editor.send("/console/undo", {"change": change_of(done)})
    assert 0 == sum("summer" in each for each in stored(shop))
