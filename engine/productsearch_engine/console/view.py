"""The address of a list of images: filters, order and place, as query fields.

Knows the fields' names. Bad values are left out: an address that somebody shortened still works.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Self, get_args
from urllib.parse import urlencode

from productsearch_engine.console.refusal import Refusal
from productsearch_engine.limits import BRIEF_BYTES_MAX, CLASS_ID_MAX, CLASS_ID_MIN
from productsearch_engine.store.gallery import Place, Sort, Stored, place_of
from productsearch_engine.store.selections import Selection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_MAX = 256


@dataclass(frozen=True, kw_only=True)
class View:
    """Which images are listed, in which order, from where."""

    selection: Selection = field(default_factory=Selection)
    sort: Sort = "newest"
    place: Place | None = None
    backwards: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """Read a view from the fields of an address."""
        asked = query.get("sort", "newest")
        sort: Sort = next((each for each in get_args(Sort) if each == asked), "newest")
        backwards = "before" in query
        return cls(
            selection=Selection(
                class_id1=class_id(query.get("class_id1", ""), lenient=True),
                class_id2=class_id(query.get("class_id2", ""), lenient=True),
                text=query.get("text", "").strip()[:_TEXT_MAX].replace("\0", ""),
                since=_day(query.get("since", "")),
            ),
            sort=sort,
            place=_place(query.get("before" if backwards else "after", ""), sort),
            backwards=backwards,
        )

    def fields(self) -> dict[str, str]:
        """Return the filters and the order as fields, without the place."""
        chosen = self.selection
        found = {
            "class_id1": chosen.class_id1,
            "class_id2": chosen.class_id2,
            "text": chosen.text or None,
            "since": chosen.since and chosen.since.date().isoformat(),
            "sort": None if self.sort == "newest" else self.sort,
        }
        return {name: str(value) for name, value in found.items() if value is not None}

    def query(self, **changes: object) -> str:
        """Return the address' query with some fields changed; None removes one."""
        fields: dict[str, object] = {**self.fields(), **changes}
        kept = {name: value for name, value in fields.items() if value is not None}
        return f"?{urlencode(kept)}" if kept else ""

    def after(self, image: Stored) -> str:
        """Return the query of the page after an image."""
        return self.query(after=_text_of(place_of(image, self.sort)))

    def before(self, image: Stored) -> str:
        """Return the query of the page before an image."""
        return self.query(before=_text_of(place_of(image, self.sort)))

    @property
    def is_filtered(self) -> bool:
        """Return whether some images are left out."""
        return self.selection != Selection()

    def at(self, place: Place | None, *, backwards: bool = False) -> View:
        """Return the same list from another place on."""
        return replace(self, place=place, backwards=backwards)


def class_id(text: str, *, lenient: bool = False) -> int | None:
    """Return a class id, None for an empty text. Raises Refusal, or returns None if lenient."""
    # Chinese keyboards write wide digits, too.
    text = unicodedata.normalize("NFKC", text).strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= 5:
        number = int(text)
        if CLASS_ID_MIN <= number <= CLASS_ID_MAX:
            return number
    if lenient:
        return None
    raise Refusal(400, "class_id")


def refused(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the key of ``refusal.told`` of each field that is not as it has to be, by its name."""
    found = {}
    for name, read in (("brief", brief), ("class_id1", class_id), ("class_id2", class_id)):
        try:
            read(fields.get(name, ""))
        except Refusal as refusal:
            found[name] = refusal.key
    return found


def brief(text: str) -> bytes:
    """Return the brief that somebody wrote. Raises Refusal if it is too long."""
    # Browsers send line ends as two characters.
    value = text.replace("\r\n", "\n").encode()
    if len(value) > BRIEF_BYTES_MAX:
        raise Refusal(400, "brief")
    return value


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _text_of(place: Place) -> str:
    if isinstance(place.key, bytes):
        return f"{base64.urlsafe_b64encode(place.key).decode()}.{place.sign}"
    return f"{(place.key - _EPOCH) // timedelta(microseconds=1)}.{place.sign}"


def _place(text: str, sort: Sort) -> Place | None:
    key, _, sign = text.rpartition(".")
    try:
        number = int(sign)
        if len(text) > 512 or not -(2**63) <= number < 2**63:
            return None
        if sort == "brief":
            return Place(key=base64.b64decode(key, b"-_", validate=True), sign=number)
        return Place(key=_EPOCH + timedelta(microseconds=int(key)), sign=number)
    except (ValueError, OverflowError, binascii.Error):
        return None
