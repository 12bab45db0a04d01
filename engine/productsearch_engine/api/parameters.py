"""Form fields to typed requests, each field checked as the contract says.

Knows every field's rule and the precedence image > url > cont_sign. The checks cost little:
no image is decoded and no host is contacted before all of them have passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError, missing
from productsearch_engine.api.forms import Fields
from productsearch_engine.api.image_field import decode_base64
from productsearch_engine.embedding.interface import Box
from productsearch_engine.limits import (
    BRIEF_BYTES_MAX,
    CLASS_ID_MAX,
    CLASS_ID_MIN,
    CONT_SIGNS_MAX,
    RESULTS_DEFAULT,
    URL_BYTES_MAX,
    WINDOW,
)
from productsearch_engine.store import signs
from productsearch_engine.store.statements import ClassFilter

_REGION_BYTES_MAX = 128


@dataclass(kw_only=True)
class Source:
    """The image that a call is about: exactly one of the three is set."""

    image: bytes | None = field(default=None, repr=False)
    """The base64 text, not checked yet; empty once it was decoded."""
    url: str | None = None
    signs: tuple[int, ...] = ()
    """Only update (one) and delete (up to 100) take signs."""
    _content: bytes | None = field(default=None, init=False, repr=False)

    def content(self) -> bytes | None:
        """Return the image that was sent, if one was, and keep it instead of its text.

        Many calls may wait for a worker, each with all that it has in memory. Raises ApiError
        216200 to 216203.
        """
        if self.image is not None and self._content is None:
            self._content = decode_base64(self.image)
            self.image = b""
        return self._content


@dataclass(frozen=True, kw_only=True)
class Add:
    """A class id is None if it was not sent."""

    source: Source
    brief: bytes
    class_id1: int | None
    class_id2: int | None
    region: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    source: Source
    region: Box | None = None
    """Where the product is in the image, if the caller says so; not of the vendor's contract."""
    rerank: bool | None = None
    """Whether to take a second look; None: as the engine is set. Not of the contract either."""
    class_filter: ClassFilter
    start: int
    count: int
    """Ranks ``start`` to ``start + count``, never past the 1000th; count may be 0."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """A field that is None keeps its stored value."""

    source: Source
    brief: bytes | None
    class_id1: int | None
    class_id2: int | None


@dataclass(frozen=True, kw_only=True)
class Delete:
    source: Source


Request: TypeAlias = Add | Search | Update | Delete


def add(fields: Fields) -> Add:
    """Read an add."""
    brief = _brief(fields)
    if brief is None:
        raise missing("brief")
    return Add(
        brief=brief,
        class_id1=_class_id(fields, b"class_id1"),
        class_id2=_class_id(fields, b"class_id2"),
        region=_region(fields),
        source=_source(fields),
    )


def search(fields: Fields) -> Search:
    """Read a search; a page that reaches past the 1000th rank is cut off there."""
    start = min(_number(fields, b"pn", least=0) or 0, WINDOW)
    count = _number(fields, b"rn", least=1)
    return Search(
        class_filter=_class_filter(fields),
        region=_region(fields),
        rerank=_rerank(fields),
        source=_source(fields),
        start=start,
        count=min(RESULTS_DEFAULT if count is None else count, WINDOW - start),
    )


def update(fields: Fields) -> Update:
    """Read an update."""
    return Update(
        brief=_brief(fields),
        class_id1=_class_id(fields, b"class_id1"),
        class_id2=_class_id(fields, b"class_id2"),
        source=_source(fields, signs_max=1),
    )


def delete(fields: Fields) -> Delete:
    """Read a delete; class ids and other fields that an SDK sends are ignored."""
    return Delete(source=_source(fields, signs_max=CONT_SIGNS_MAX))


READERS: Mapping[str, Callable[[Fields], Request]] = {
    "add": add,
    "search": search,
    "update": update,
    "delete": delete,
}
"""The last part of a call's path and the function that reads its fields.

They raise ApiError 216100, 216101, 216103, 282111 or 282114."""


def _source(fields: Fields, signs_max: int = 0) -> Source:
    """Return the first of image, url and cont_sign that was sent, even if it is empty."""
    if b"image" in fields:
        return Source(image=fields[b"image"])
    if b"url" in fields:
        return Source(url=_url(fields[b"url"]))
    if not signs_max:
        raise missing("image")
    if b"cont_sign" not in fields:
        raise missing("cont_sign")
    return Source(signs=_signs(fields[b"cont_sign"], signs_max))


def _url(value: bytes) -> str:
    if not value or len(value) > URL_BYTES_MAX:
        raise ApiError(codes.URL_LENGTH)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ApiError(codes.URL_ILLEGAL) from None


def _signs(value: bytes, signs_max: int) -> tuple[int, ...]:
    """Read signs joined with ``;``. One more ``;`` at the end is ignored: loops leave it there."""
    value = value.rstrip().removesuffix(b";")
    if value.count(b";") >= signs_max:
        raise ApiError(codes.PARAM_INVALID)
    found = [signs.from_text(text) for text in value.split(b";")]
    known = tuple(sign for sign in found if sign is not None)
    if len(known) < len(found):
        raise ApiError(codes.PARAM_INVALID)
    return known


def _brief(fields: Fields) -> bytes | None:
    brief = fields.get(b"brief")
    if brief is None:
        return None
    if len(brief) > BRIEF_BYTES_MAX:
        raise ApiError(codes.PARAM_TOO_LONG)
    try:
        brief.decode()
    except UnicodeDecodeError:
        raise ApiError(codes.PARAM_INVALID) from None
    return brief


def _class_filter(fields: Fields) -> ClassFilter:
    logic = fields.get(b"tag_logic", b"0").strip()
    if logic not in (b"0", b"1"):
        raise ApiError(codes.PARAM_INVALID)
    return ClassFilter(
        class_id1=_class_id(fields, b"class_id1"),
        class_id2=_class_id(fields, b"class_id2"),
        any_class=logic == b"1",
    )


def _region(fields: Fields) -> Box | None:
    """Read ``left,top,width,height``, each 0 to 1 of the upright image's sides."""
    value = fields.get(b"region")
    if value is None:
        return None
    if len(value) > _REGION_BYTES_MAX:
        raise ApiError(codes.PARAM_INVALID)
    try:
        box = Box(*(float(part) for part in value.decode("ascii").split(",")))
    except (ValueError, TypeError):
        raise ApiError(codes.PARAM_INVALID) from None
    # A sum of decimal fractions may end a little above 1.
    most = 1 + 1e-6
    ends = (box.left + box.width, box.top + box.height)
    if not all(0 <= each <= most for each in (*box, *ends)) or not (box.width and box.height):
        raise ApiError(codes.PARAM_INVALID)
    return box


def _rerank(fields: Fields) -> bool | None:
    value = fields.get(b"rerank")
    if value is None:
        return None
    if value.strip() not in (b"0", b"1"):
        raise ApiError(codes.PARAM_INVALID)
    return value.strip() == b"1"


def _class_id(fields: Fields, name: bytes) -> int | None:
    return _number(fields, name, least=CLASS_ID_MIN, most=CLASS_ID_MAX)


def _number(fields: Fields, name: bytes, *, least: int, most: int = 10**10) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    digits = value.strip()
    # bytes.isdigit() accepts ASCII digits only; the length limit keeps int() cheap.
    if not digits.isdigit() or len(digits) > 10 or not least <= int(digits) <= most:
        raise ApiError(codes.PARAM_INVALID)
    return int(digits)
