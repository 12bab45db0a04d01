"""What a change made of an image, by the names that people know: class ids, members of the brief.

A brief that is a JSON object before and after is told by its members. Knows briefs. Does not know
how a page looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from productsearch_engine.console.card import readable
from productsearch_engine.console.members import members
from productsearch_engine.store.details import Written

_SHORT = 48


class Difference(NamedTuple):
    """One value before and after; None: there is none."""

    name: str
    """``class_id1``, ``class_id2``, ``brief`` or ``member``."""
    key: str
    """Of a member."""
    before: str | None
    after: str | None


def differences(before: Written, after: Written) -> list[Difference]:
    """Return what differs between two states of an image."""
    found = [
        Difference(name, "", _number(one), _number(other))
        for name, one, other in (
            ("class_id1", before.class_id1, after.class_id1),
            ("class_id2", before.class_id2, after.class_id2),
        )
        if one != other
    ]
    if before.brief == after.brief:
        return found
    texts = [each.brief.decode(errors="replace") for each in (before, after)]
    one, other = (_members(text) for text in texts)
    if one is not None and other is not None and one != other:
        keys = [*one, *(key for key in other if key not in one)]
        changed = (Difference("member", key, one.get(key), other.get(key)) for key in keys)
        return found + [each for each in changed if each.before != each.after]
    return [*found, Difference("brief", "", *(readable(text) or None for text in texts))]


def summed(
    each_image: Iterable[list[Difference]], most: int
) -> tuple[list[tuple[Difference, int]], int]:
    """Return the most frequent differences with counts, and how many further ones there are."""
    counted = Counter(each for found in each_image for each in found)
    return counted.most_common(most), max(0, len(counted) - most)


def short(text: str, most: int = _SHORT) -> str:
    """Return a text that fits in a line."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def _members(text: str) -> dict[str, str] | None:
    found = members(text)
    return None if found is None else {each.key: each.shown for each in found}
