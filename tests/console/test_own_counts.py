"""The counts of class ids: those who have changed something see it at once."""

from __future__ import annotations

import re

from tests.console.conftest import Shop
from tests.console.person import Person, change_of
from tests.engine.image_files import jpeg


def counts(person: Person) -> dict[str, str]:
    """Return the counts of the class ids 1 that the first page shows."""
    chips = person.get("/console/").text.partition('class="chips"')[2].partition("</nav>")[0]
    return dict(re.findall(r'class_id1=(\d+)">\d+ <b>([0-9,]+)</b>', chips))


def test_own_edits_are_counted_at_once(shop: Shop) -> None:
    """After each edit, delete, add and undo, however fresh the counts of before are."""
    signs = [shop.add(jpeg(seed), class_id1="3") for seed in range(3)]
    edit = [("sign", signs[0]), ("class_id1_do", "set"), ("class_id1", "4")]
    shop.editor.send("/console/edit/apply", edit)
    assert {"3": "2", "4": "1"} == counts(shop.editor)
    deleted = shop.editor.send("/console/delete", {"sign": signs[1]})
    assert {"3": "1", "4": "1"} == counts(shop.editor)
    shop.editor.send("/console/undo", {"change": change_of(deleted)})
    assert {"3": "2", "4": "1"} == counts(shop.editor)
    shop.editor.send("/console/add", {"class_id1": "4"}, files={"image": ("a", jpeg(9))})
    assert {"3": "2", "4": "2"} == counts(shop.editor)
