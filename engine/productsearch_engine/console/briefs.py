"""What a selection's briefs have in common, and what an edit of several of them makes of each.

Knows briefs: bytes that are text, some of them JSON objects. Does not know forms or the store.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from productsearch_engine.console.members import Member, Raw, members, with_member, without
from productsearch_engine.limits import BRIEF_BYTES_MAX

KEYS_MAX = 16
VALUES_MAX = 40

Doing = Literal["keep", "set", "member", "without"]


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of briefs that are objects."""

    name: str
    count: int
    """Briefs that have it."""
    offered: list[tuple[str, int]]
    """Its values with counts: the most frequent ones."""
    more: int
    """Further values."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the briefs of a selection have."""

    different: int
    keys: list[Key]
    more_keys: int
    texts: list[tuple[str, int]]
    """The most frequent briefs that are no objects; an empty one is one of them."""
    more_texts: int


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which of the selected briefs an edit means. Without any field: all."""

    lacking: bool = False
    """Those without the key."""
    key: str | None = None
    value: str | None = None
    """Those whose key has this value, as people read it."""
    text: str | None = None
    """Those that are this text."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is to be made of briefs."""

    doing: Doing
    where: Where = Where()
    text: str = ""
    key: str = ""
    value: str = ""


class LongBriefsError(Exception):
    """So many briefs would be longer than a brief may be; ``count``."""

    def __init__(self, count: int):
        self.count = count
        super().__init__(str(count))


def counted(briefs: Sequence[bytes]) -> Counted:
    """Count keys, values and texts of briefs."""
    keys: dict[str, Counter[str]] = {}
    texts: Counter[str] = Counter()
    for brief, count in Counter(briefs).items():
        text = brief.decode(errors="replace")
        found = members(text)
        if found is None:
            texts[text] += count
            continue
        for key, value in {each.key: each.shown for each in found}.items():
            keys.setdefault(key, Counter())[value] += count
    ordered = sorted(keys.items(), key=lambda it: -it[1].total())
    return Counted(
        different=len(set(briefs)),
        keys=[
            Key(
                name=name,
                count=of.total(),
                offered=of.most_common(VALUES_MAX),
                more=max(0, len(of) - VALUES_MAX),
            )
            for name, of in ordered[:KEYS_MAX]
        ],
        more_keys=max(0, len(ordered) - KEYS_MAX),
        texts=texts.most_common(VALUES_MAX),
        more_texts=max(0, len(texts) - VALUES_MAX),
    )


def edited(briefs: Sequence[bytes], edit: Edit) -> list[bytes | None]:
    """Return the new text of each brief, None for one that stays as it is.

    Raises LongBriefsError.
    """
    if edit.doing == "keep":
        return [None] * len(briefs)
    numbers = _numbers(briefs, edit.key)
    made: dict[bytes, bytes | None] = {}
    for brief in set(briefs):
        text = _edited(brief.decode(errors="replace"), edit, numbers=numbers)
        new = None if text is None else text.encode()
        made[brief] = None if new == brief else new
    found = [made[brief] for brief in briefs]
    long = sum(each is not None and len(each) > BRIEF_BYTES_MAX for each in found)
    if long:
        raise LongBriefsError(long)
    return found


def _edited(text: str, edit: Edit, *, numbers: bool) -> str | None:
    found = members(text)
    if not _is_meant(text, found, edit):
        return None
    if edit.doing == "set":
        return edit.text
    if edit.doing == "without":
        return None if found is None else without(text, edit.key)
    if found is None and text.strip():
        return None
    return with_member(
        text if found is not None else "{}", edit.key, _value(edit.value, numbers=numbers)
    )


def _is_meant(text: str, found: list[Member] | None, edit: Edit) -> bool:
    where = edit.where
    values = {each.key: each.shown for each in found or ()}
    if where.text is not None:
        return found is None and text == where.text
    if where.key is not None:
        return values.get(where.key) == where.value
    return not where.lacking or edit.key not in values


def _numbers(briefs: Sequence[bytes], key: str) -> bool:
    """Return whether the values of a key are numbers, true, false or null where it is."""
    found = [
        each.value
        for brief in set(briefs)
        for each in members(brief.decode(errors="replace")) or ()
        if each.key == key
    ]
    return bool(found) and not any(isinstance(each, str | list | dict) for each in found)


def _value(text: str, *, numbers: bool) -> object:
    if not numbers:
        return text
    try:
        value = json.loads(text, parse_constant=_no_number)
    except ValueError:
        return text
    # A number beyond all that programs know is none to who reads the brief.
    if isinstance(value, str | list | dict) or value in (math.inf, -math.inf):
        return text
    return Raw(text.strip())


def _no_number(text: str) -> object:
    raise ValueError(text)
