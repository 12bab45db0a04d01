"""Turns requests into checked calls, or names everything that is wrong with them at once.

Nothing is sent upstream that the upstream would refuse for its form: each refusal would cost
a call of the quota and answer with less. Field paths start at the request. Knows requests and
pictures; does not know gRPC contexts or the upstream.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from productsearch.v1 import ClassFilter, DuplicatePolicy, ImageRef, ImageSource, NewImage
from productsearch_service import errors, images, limits, paging, preparing
from productsearch_service.calls import Add, Delete, Picture, Search, Update
from productsearch_service.errors import RequestError, Violation

if TYPE_CHECKING:
    from productsearch.v1 import (
        BatchDeleteImagesRequest,
        BulkAddImagesRequest,
        DeleteImageRequest,
        SearchImagesRequest,
        UpdateImageRequest,
    )
    from productsearch_service.calls import Target

_SIGN: Final = re.compile(r"([0-9]{1,10}),([0-9]{1,10})", re.ASCII)
_UINT32_MAX: Final = 2**32 - 1
_POLICIES: Final = frozenset(DuplicatePolicy.values())
_BY_REASON: Final[dict[str, type[RequestError]]] = {
    kind.reason: kind
    for kind in (errors.ImageUnreadable, errors.ImageSizeInvalid, errors.PageTokenInvalid)
}


class _Findings:
    """What was found wrong so far."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def add(self, field: str, description: str, reason: str = "FIELD_INVALID") -> None:
        """Note a wrong field."""
        self.violations.append(Violation(field, description, reason))

    def finish(self) -> None:
        """Raise what was found: under its own reason if all share one, else FIELD_INVALID."""
        if not self.violations:
            return
        reasons = {violation.reason for violation in self.violations}
        kind = _BY_REASON.get(reasons.pop(), errors.FieldInvalid)
        if reasons:
            kind = errors.FieldInvalid
        first = self.violations[0]
        more = len(self.violations) - 1
        tail = f" (and {more} more)" if more else ""
        raise kind(
            f"{first.field}: {first.description}{tail}",
            violations=tuple(self.violations[: limits.VIOLATIONS_MAX]),
        )


def new_image(message: NewImage, policy: DuplicatePolicy.ValueType) -> Add:
    """Return the checked add of AddImage or of one bulk item."""
    found = _Findings()
    if message == NewImage():
        found.add("new_image", "missing; set image and brief")
        found.finish()
    picture = _picture(message.image, "new_image.image", found)
    _check_brief(message.brief, "new_image.brief", found)
    class_id1, class_id2 = _class_ids(message, "new_image.", found)
    _check_policy(policy, "duplicate_policy", found)
    found.finish()
    return Add(picture, message.brief, class_id1, class_id2)


def bulk_settings(message: BulkAddImagesRequest.Settings) -> None:
    """Check the first message of a bulk stream."""
    found = _Findings()
    _check_policy(message.duplicate_policy, "settings.duplicate_policy", found)
    found.finish()


def bulk_item(item: BulkAddImagesRequest.Item, policy: DuplicatePolicy.ValueType) -> Add:
    """Return the checked add of one bulk item."""
    key_bytes = len(item.key.encode())
    if not 0 < key_bytes <= limits.KEY_BYTES_MAX:
        found = _Findings()
        found.add("key", f"{key_bytes} bytes long; use 1 to {limits.KEY_BYTES_MAX}")
        found.finish()
    return new_image(item.new_image, policy)


def search(request: SearchImagesRequest, library: str) -> tuple[Search, bytes]:
    """Return the checked search, from rank ``start`` on, and the fingerprint of its pages.

    Raises ResultWindowExceeded if the page begins past the last rank that can be reached.
    """
    found = _Findings()
    picture = _picture(request.image, "image", found)
    class_id1 = class_id2 = None
    if request.HasField("class_filter"):
        class_id1, class_id2 = _class_filter(request.class_filter, found)
    if request.page_size < 0:
        found.add("page_size", f"{request.page_size} is negative; use 0 for the default of 300")
    if request.skip < 0:
        found.add("skip", f"{request.skip} is negative; use 0 or more")
    if not (math.isfinite(request.min_score) and 0 <= request.min_score <= 1):
        found.add("min_score", f"{request.min_score} is out of range; use 0 to 1")
    either = request.class_filter.operator == ClassFilter.OPERATOR_OR
    count = min(request.page_size or limits.PAGE_SIZE_DEFAULT, limits.RESULT_WINDOW)
    whole = Search(picture, 0, count, class_id1, class_id2, either)
    start = request.skip
    mark = paging.fingerprint(library, whole, request.min_score)
    if request.page_token and not found.violations:
        try:
            start += paging.decode(request.page_token, mark)
        except paging.ForeignToken as wrong:
            found.add("page_token", str(wrong), errors.PageTokenInvalid.reason)
    found.finish()
    if start >= limits.RESULT_WINDOW:
        described = f"the page begins at {start}; only the first {limits.RESULT_WINDOW} " + (
            "results can be reached, ask for fewer or narrow the class_filter"
        )
        raise errors.ResultWindowExceeded(described, violations=(Violation("skip", described),))
    count = min(count, limits.RESULT_WINDOW - start)
    return dataclasses.replace(whole, start=start, count=count), mark


def update(request: UpdateImageRequest) -> Update:
    """Return the checked update."""
    found = _Findings()
    target = _target(request.image_ref, found)
    brief = request.brief if request.HasField("brief") else None
    if brief is not None:
        _check_brief(brief, "brief", found)
    class_id1, class_id2 = _class_ids(request, "", found)
    if brief is None and not request.HasField("class_id1") and not request.HasField("class_id2"):
        found.add("brief", "nothing to change; set brief, class_id1 or class_id2")
    found.finish()
    return Update(target, brief, class_id1, class_id2)


def delete(request: DeleteImageRequest) -> Delete:
    """Return the checked delete of one picture."""
    found = _Findings()
    target = _target(request.image_ref, found)
    found.finish()
    return Delete(target)


def batch_delete(request: BatchDeleteImagesRequest) -> list[str]:
    """Return the checked signatures, one for each that was sent."""
    found = _Findings()
    if not request.cont_signs:
        found.add("cont_signs", "empty; name at least one signature")
    signs = [
        _sign(sign, f"cont_signs[{index}]", found) for index, sign in enumerate(request.cont_signs)
    ]
    found.finish()
    return signs


def _picture(source: ImageSource, path: str, found: _Findings) -> Picture:
    kind = source.WhichOneof("source")
    if kind is None:
        found.add(path, "no picture; set content or url")
    elif kind == "content":
        content, escaped = _content(source.content, source.fit, path, found)
        return Picture(content=content, escaped=escaped, field=path)
    else:
        if source.fit:
            found.add(f"{path}.fit", "has no meaning for url; send the content, or drop fit")
        _check_url(source.url, f"{path}.url", found)
    return Picture(url=source.url, field=path)


def _content(
    content: bytes, fit: bool, path: str, found: _Findings
) -> tuple[bytes, tuple[bytes | memoryview, ...] | None]:
    """Return the picture to send, and its form where that was made."""
    if not content:
        found.add(f"{path}.content", "empty; send a picture", errors.ImageUnreadable.reason)
        return content, None
    try:
        if fit:
            preparing.done()  # it takes long, and needs the interpreter for little of it
            return images.fit(content), None
        return content, images.check(content)
    except images.Unreadable as wrong:
        found.add(f"{path}.content", str(wrong), errors.ImageUnreadable.reason)
    except images.SizeInvalid as wrong:
        found.add(f"{path}.content", _with_hint(wrong, fit), errors.ImageSizeInvalid.reason)
    return content, None


def _with_hint(wrong: images.SizeInvalid, fit: bool) -> str:
    return str(wrong) if fit else f"{wrong}; or set fit and the service scales it"


def _check_url(url: str, path: str, found: _Findings) -> None:
    length = len(url.encode())
    if not 0 < length <= limits.URL_BYTES_MAX:
        found.add(path, f"{length} bytes long; use 1 to {limits.URL_BYTES_MAX}")
        return
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        sound = False
    if not sound or not url.isprintable() or " " in url:
        found.add(path, "no address; use http://host/path or https://host/path")


def _target(ref: ImageRef, found: _Findings) -> Target:
    kind = ref.WhichOneof("ref")
    if kind == "cont_sign":
        return _sign(ref.cont_sign, "image_ref.cont_sign", found)
    if kind == "image":
        return _picture(ref.image, "image_ref.image", found)
    found.add("image_ref", "names no picture; set cont_sign or image")
    return ""


def _sign(sign: str, path: str, found: _Findings) -> str:
    match = _SIGN.fullmatch(sign.strip())
    if match is None or any(int(part) > _UINT32_MAX for part in match.groups()):
        found.add(path, "no signature; use two unsigned 32-bit numbers joined by a comma")
        return ""
    return match.group()


def _class_filter(message: ClassFilter, found: _Findings) -> tuple[int | None, int | None]:
    if not message.HasField("class_id1") and not message.HasField("class_id2"):
        found.add("class_filter", "names no class; set class_id1 or class_id2, or leave it out")
    if message.operator not in ClassFilter.Operator.values():
        found.add("class_filter.operator", f"{message.operator} is no Operator")
    return _class_ids(message, "class_filter.", found)


def _class_ids(
    message: NewImage | ClassFilter | UpdateImageRequest, prefix: str, found: _Findings
) -> tuple[int | None, int | None]:
    class_id1 = message.class_id1 if message.HasField("class_id1") else None
    class_id2 = message.class_id2 if message.HasField("class_id2") else None
    for name, value in (("class_id1", class_id1), ("class_id2", class_id2)):
        if value is not None and not limits.CLASS_ID_MIN <= value <= limits.CLASS_ID_MAX:
            found.add(
                f"{prefix}{name}",
                f"{value} is out of range; use {limits.CLASS_ID_MIN} to {limits.CLASS_ID_MAX}",
            )
    return class_id1, class_id2


def _check_brief(brief: str, path: str, found: _Findings) -> None:
    length = len(brief.encode())
    if not 0 < length <= limits.BRIEF_BYTES_MAX:
        found.add(path, f"{length} bytes of UTF-8; use 1 to {limits.BRIEF_BYTES_MAX}")


def _check_policy(policy: DuplicatePolicy.ValueType, path: str, found: _Findings) -> None:
    if policy not in _POLICIES:
        found.add(path, f"{policy} is no DuplicatePolicy")
