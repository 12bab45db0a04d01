"""The counts of class ids: those who have changed something see it at once."""

from __future__ import annotations

import re
from typing import Any

from psycopg_pool import ConnectionPool

from productsearch_engine.console.facets import with_differences
from productsearch_engine.store.class_changes import ClassChanges
from productsearch_engine.store.gallery import FACETS_MAX
from productsearch_engine.store.libraries import Libraries
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


def test_counts_are_corrected_by_the_journal(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Of a large library they are not made anew: edits, merges and deletes correct them."""
    signs = [shop.add(jpeg(seed), f"b{seed}", class_id1="3", class_id2="8") for seed in range(4)]
    changes, library = ClassChanges(pool), Libraries(pool).named(shop.name)
    assert 0 == changes.last(library)
    edit = [("class_id1_do", "set"), ("class_id1", "4"), ("class_id2_do", "remove")]
    chosen = [("sign", sign) for sign in signs[:2]]
    edited = int(change_of(shop.editor.send("/console/edit/apply", [*chosen, *edit])))
    deleted = int(change_of(shop.editor.send("/console/delete", {"sign": signs[2]})))
    assert deleted == changes.last(library)
    assert ({3: -3, 4: 2}, {8: -3}) == changes.between(library, 0, deleted)
    assert ({3: -2, 4: 2}, {8: -2}) == changes.between(library, 0, edited)
    assert ({}, {}) == changes.between(library, deleted, deleted)
    merged = {"keep": signs[0], "drop": signs[3], "back": "/console/doubles"}
    merged_by = int(change_of(shop.editor.send("/console/doubles", merged)))
    assert ({3: -1}, {}) == changes.between(library, deleted, merged_by)
    shop.editor.send("/console/undo", {"change": str(deleted)})
    assert changes.between(library, 0, changes.last(library)) is None


def test_differences_of_counts() -> None:
    """Of those that are shown, and of others only if all are."""
    counts = [(3, 9), (5, 2)]
    assert [(5, 10), (3, 9)] == with_differences(counts, {5: 8})
    assert [(3, 9), (7, 1)] == with_differences(counts, {5: -2, 7: 1})
    many = [(class_id, 100) for class_id in range(1, FACETS_MAX + 1)]
    assert many == with_differences(many, {60_000: 5})
