"""What a page shows of one image, in the gallery and among results alike.

Knows briefs: bytes that are UTF-8 and often, not always, JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from productsearch_engine.store import signs
from productsearch_engine.store.gallery import Stored

_TITLE_VALUES_MAX = 3


@dataclass(frozen=True, kw_only=True)
class Card:
    """One image on a page."""

    sign: str
    """The ``cont_sign``."""
    title: str
    brief: str
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
    title = " · ".join(value for _, value in pairs[:_TITLE_VALUES_MAX]) if pairs else brief
    return Card(
        sign=signs.to_text(image.sign),
        title=title.strip(),
        brief=brief,
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
    return tuple((name, _plain(value)) for name, value in members.items())


def is_broken_json(brief: str) -> bool:
    """Return whether a brief begins as JSON's objects and lists do, and is not JSON."""
    if not brief.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(brief)
    except (ValueError, RecursionError):
        return True
    return False


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
