"""The members of a brief that is a JSON object: found, replaced and removed in its own text.

What nobody changes stays as it is written, byte by byte: numbers, spaces, escapes. Knows JSON. Does
not know briefs' limits.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_SPACE = re.compile(r"[ \t\r\n]*")
_HALVES = re.compile("[\ud800-\udfff]")
_decoder = json.JSONDecoder()


class Raw(str):
    """A value as it is written in JSON."""


class Member(NamedTuple):
    """A key with its value, and where both are in the text."""

    key: str
    value: object
    start: int
    value_start: int
    end: int

    @property
    def shown(self) -> str:
        """Return the value as people read it: a text as it is, all else as JSON."""
        value = self.value
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def members(text: str) -> list[Member] | None:
    """Return the members of an object in their order, None if the text is no JSON object."""
    if not text.lstrip(" \t\r\n").startswith("{"):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    found: list[Member] = []
    at = _skipped(text, text.index("{") + 1)
    while text[at] != "}":
        key, end = _decoder.raw_decode(text, at)
        value_start = _skipped(text, _skipped(text, end) + 1)
        value, value_end = _decoder.raw_decode(text, value_start)
        found.append(Member(key, value, at, value_start, value_end))
        at = _skipped(text, value_end)
        if text[at] == ",":
            at = _skipped(text, at + 1)
    return found


def with_member(text: str, key: str, value: object) -> str:
    """Return an object with a member replaced, or put behind all others. Raises ValueError."""
    known = _known(text)
    same = [each for each in known if each.key == key]
    escapes = text.isascii() and "\\u" in text
    written = _dumped(value, escapes=escapes)
    for each in reversed(same):
        text = text[: each.value_start] + written + text[each.end :]
    if same:
        return text
    compact = bool(known) and text[known[0].value_start - 1] == ":"
    colon, comma = (":", ",") if compact else (": ", ", ")
    if len(known) > 1:
        comma = text[known[0].end : known[1].start]
    at = known[-1].end if known else text.index("{") + 1
    pair = _dumped(key, escapes=escapes) + colon + written
    return text[:at] + (comma if known else "") + pair + text[at:]


def without(text: str, key: str) -> str:
    """Return an object without a member. Raises ValueError."""
    known = _known(text)
    for place in reversed(range(len(known))):
        if known[place].key == key:
            if place + 1 < len(known):
                start, end = known[place].start, known[place + 1].start
            else:
                start = known[place - 1].end if place else known[place].start
                end = known[place].end
            return without(text[:start] + text[end:], key)
    return text


def _known(text: str) -> list[Member]:
    known = members(text)
    if known is None:
        raise ValueError("no JSON object")
    return known


def _skipped(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _dumped(value: object, *, escapes: bool) -> str:
    if isinstance(value, Raw):
        return str(value)
    text = json.dumps(value, ensure_ascii=escapes)
    # Half of an emoji is no UTF-8.
    return json.dumps(value) if _HALVES.search(text) else text
