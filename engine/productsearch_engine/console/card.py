"""What a page shows of one image, in the gallery and among results alike.

Knows briefs: bytes that are UTF-8 and often, not always, JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from productsearch_engine.store import signs
from productsearch_engine.store.gallery import Stored

_TITLE_VALUES_MAX = 3
_HALVES = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One image on a page."""

    sign: str
    """The ``cont_sign``."""
    title: str
    brief: str
    text: str
    """The brief as people read and write it (``readable``)."""
    pairs: tuple[tuple[str, str], ...]
    """Of a brief that is a JSON object."""
    image: Stored
    score: float | None = None
    word: str | None = None
    """``image``, ``same``, ``similar`` or ``other``."""


def card(image: Stored, score: float | None = None, word: str | None = None) -> Card:
    """Return what is shown of an image."""
    brief = image.brief.decode(errors="replace")
    pairs = _pairs(brief)
    text = readable(brief)
    values = [value for _, value in pairs if value.strip()]
    title = " · ".join(values[:_TITLE_VALUES_MAX]) or text
    return Card(
        sign=signs.to_text(image.sign),
        title=title.strip(),
        brief=brief,
        text=text,
        pairs=pairs,
        image=image,
        score=score,
        word=word,
    )


def _pairs(brief: str) -> tuple[tuple[str, str], ...]:
    if not brief.lstrip().startswith("{"):
        return ()
    try:
        members = json.loads(brief)
    except (ValueError, RecursionError):
        return ()
    return tuple((_whole(name), _whole(_plain(value))) for name, value in members.items())


def is_broken_json(brief: str) -> bool:
    """Return whether a brief begins as JSON's objects and lists do, and is not JSON."""
    if not brief.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(brief)
    except (ValueError, RecursionError):
        return True
    return False


def readable(brief: str) -> str:
    r"""Return a brief for people to read and edit: letters that JSON has escaped are themselves.

    What is no letter, as a line end or half of an emoji, stays escaped, and so does what stands
    for another text without its backslash.
    """
    decoded = _ESCAPED.sub(lambda found: _letters(found[0]), brief)
    try:
        return decoded if json.loads(decoded) == json.loads(brief) else brief
    except (ValueError, RecursionError):
        return brief


def _letters(escaped: str) -> str:
    letters = str(json.loads(f'"{escaped}"'))
    return letters if letters.isprintable() and letters not in '"\\' else escaped


def _whole(text: str) -> str:
    """Return a text that can be written: JSON may name half of an emoji's two characters."""
    return _HALVES.sub("\ufffd", text)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
