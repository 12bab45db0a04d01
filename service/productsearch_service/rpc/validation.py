"""Turns requests into commands, or names everything that is wrong with them at once.

Nothing is sent upstream that the upstream would refuse for its form: each refusal would cost
a call of the quota and answer with less. Field paths start at the request.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from productsearch import v1
from productsearch.v1 import (
    BulkAddImagesRequest,
    ClassFilter,
    DeleteImageRequest,
    ImageRef,
    ImageSource,
    NewImage,
    SearchImagesRequest,
    UpdateImageRequest,
)
from productsearch_service import errors, limits
from productsearch_service.call_context import CallContext
from productsearch_service.errors import RequestError, Violation
from productsearch_service.images.form_encoding import FormEncoder, check
from productsearch_service.images.inspect import SizeInvalid, Unreadable, check_fit_length
from productsearch_service.library.commands import (
    Add,
    Classes,
    Delete,
    DuplicatePolicy,
    Image,
    Search,
    Target,
    Update,
)
from productsearch_service.rpc import engine_fields, page_token, signatures

_POLICIES: Final = {
    v1.DuplicatePolicy.DUPLICATE_POLICY_UNSPECIFIED: DuplicatePolicy.REJECT,
    v1.DuplicatePolicy.DUPLICATE_POLICY_REJECT: DuplicatePolicy.REJECT,
    v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP: DuplicatePolicy.KEEP,
    v1.DuplicatePolicy.DUPLICATE_POLICY_UPDATE: DuplicatePolicy.UPDATE,
}
_BY_REASON: Final[dict[str, type[RequestError]]] = {
    kind.reason: kind
    for kind in (errors.ImageUnreadable, errors.ImageSizeInvalid, errors.PageTokenInvalid)
}
Cut = memoryview | None
"""The image of a request, if it was cut out of it (``image_part``)."""


class _Findings:
    """What was found wrong so far."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def add(self, field: str, description: str, reason: str = "FIELD_INVALID") -> None:
        """Note a wrong field."""
        self.violations.append(Violation(field, description, reason))

    def add_all(self, wrong: Iterable[tuple[str, str]]) -> None:
        """Note wrong fields, each with its description."""
        for field, description in wrong:
            self.add(field, description)

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


def new_image(
    message: NewImage,
    policy: v1.DuplicatePolicy.ValueType,
    content: Cut = None,
    *,
    engine: bool,
) -> Add:
    """Return the add of AddImage or of one bulk item; ``engine``: it is for the engine."""
    found = _Findings()
    if message == NewImage():
        found.add("new_image", "missing; set image and brief")
        found.finish()
    image = _image(message.image, "new_image.image", found, content)
    _check_brief(message.brief, "new_image.brief", found)
    classes = _classes(message, "new_image.", found)
    checked_policy = _policy(policy, "duplicate_policy", found)
    region = None
    if message.HasField("region"):
        found.add_all(engine_fields.wrong_in(message, "new_image.", engine=engine))
        region = engine_fields.region_of(message)
    found.finish()
    return Add(image, message.brief, classes, checked_policy, region)


def bulk_item(
    item: BulkAddImagesRequest.Item,
    policy: v1.DuplicatePolicy.ValueType,
    content: Cut = None,
    *,
    engine: bool,
) -> Add:
    """Return the add of one bulk item."""
    key_bytes = len(item.key.encode())
    if not 0 < key_bytes <= limits.KEY_BYTES_MAX:
        found = _Findings()
        found.add("key", f"{key_bytes} bytes long; use 1 to {limits.KEY_BYTES_MAX}")
        found.finish()
    return new_image(item.new_image, policy, content, engine=engine)


async def search(
    request: SearchImagesRequest, library: str, content: Cut = None, *, engine: bool
) -> Search:
    """Return the search, from the rank on that its skip and page token say.

    ``engine``: the library's upstream is the engine.

    Raises ResultWindowExceeded if the page begins past the last rank that can be reached.
    """
    found = _Findings()
    image = _image(request.image, "image", found, content)
    classes = Classes()
    if request.HasField("class_filter"):
        classes = _class_filter(request.class_filter, found)
    if request.page_size < 0:
        found.add("page_size", f"{request.page_size} is negative; use 0 for the default of 300")
    if request.skip < 0:
        found.add("skip", f"{request.skip} is negative; use 0 or more")
    if not (math.isfinite(request.min_score) and 0 <= request.min_score <= 1):
        found.add("min_score", f"{request.min_score} is out of range; use 0 to 1")
    either_class = request.class_filter.operator == ClassFilter.OPERATOR_OR
    what = (library, image.url, classes.class_id1, classes.class_id2, either_class)
    found.add_all(engine_fields.wrong_in(request, "", engine=engine))
    found.finish()  # what follows reads all of it, however long it is
    region, rerank = engine_fields.region_of(request), engine_fields.rerank_of(request)
    asked = (*what, request.min_score, *(("fit",) if image.fits else ()))
    # Left out where they are not set: tokens of a replica that knows neither stay good.
    asked += () if region is None else (region,)
    asked += () if rerank is None else (("rerank", rerank),)
    fingerprint = await page_token.fingerprint(asked, image.content)
    start = request.skip
    if request.page_token:
        try:
            start += page_token.decode(request.page_token, fingerprint)
        except page_token.ForeignToken as wrong:
            found.add("page_token", str(wrong), errors.PageTokenInvalid.reason)
    found.finish()
    if start >= limits.RESULT_WINDOW:
        described = f"the page begins at {start}; only the first {limits.RESULT_WINDOW} " + (
            "results can be reached, ask for fewer or narrow the class_filter"
        )
        raise errors.ResultWindowExceeded(described, violations=(Violation("skip", described),))
    count = min(request.page_size or limits.PAGE_SIZE_DEFAULT, limits.RESULT_WINDOW - start)
    return Search(image, start, count, fingerprint, classes, either_class, region, rerank)


def update(request: UpdateImageRequest, content: Cut = None) -> Update:
    """Return the update."""
    found = _Findings()
    target = _target(request.image_ref, content, found)
    brief = request.brief if request.HasField("brief") else None
    if brief is not None:
        _check_brief(brief, "brief", found)
    classes = _classes(request, "", found)
    if brief is None and not classes.named:
        found.add("brief", "nothing to change; set brief, class_id1 or class_id2")
    found.finish()
    return Update(target, brief, classes)


def delete(request: DeleteImageRequest, content: Cut = None) -> Delete:
    """Return the delete of one image."""
    found = _Findings()
    target = _target(request.image_ref, content, found)
    found.finish()
    return Delete(target, request.allow_missing)


async def encode(image: Image, encoder: FormEncoder, context: CallContext) -> None:
    """Give ``image`` its form value in place of the bytes that were sent.

    Raises ImageUnreadable or ImageSizeInvalid where that only shows now.
    """
    if not image.content:
        return
    found = _Findings()
    began_s = time.monotonic()
    try:
        image.form_value = await encoder.form_value(
            image.content, fits=image.fits, caller=context.caller.name
        )
        image.content = b""
    except (Unreadable, SizeInvalid) as wrong:
        _refuse(image, wrong, found)
    finally:
        if image.fits:
            context.trail.fit_s += time.monotonic() - began_s
        if context.trail.trace is not None:
            context.trail.trace.part("fit and encode" if image.fits else "encode", began_s)
    found.finish()


def bulk_settings(message: BulkAddImagesRequest.Settings) -> None:
    """Check the first message of a bulk stream."""
    found = _Findings()
    _policy(message.duplicate_policy, "settings.duplicate_policy", found)
    found.finish()


def _target(ref: ImageRef, content: Cut, found: _Findings) -> Target:
    kind = ref.WhichOneof("ref")
    if kind == "cont_sign":
        return _sign(ref.cont_sign, "image_ref.cont_sign", found)
    if kind == "image":
        return _image(ref.image, "image_ref.image", found, content)
    found.add("image_ref", "names no image; set cont_sign or image")
    return ""


def _image(source: ImageSource, path: str, found: _Findings, cut: Cut) -> Image:
    content = source.content if cut is None else cut
    image = Image(content=content, fits=source.fit, url=source.url, path=path)
    kind = source.WhichOneof("source")
    if kind is None:
        found.add(path, "no image; set content or url")
    elif kind == "content" and not image.content:
        found.add(f"{path}.content", "empty; send an image", errors.ImageUnreadable.reason)
    elif kind == "content":
        try:
            if image.fits:
                check_fit_length(len(image.content))
            else:
                check(image.content)
        except (Unreadable, SizeInvalid) as wrong:
            _refuse(image, wrong, found)
    elif kind == "url":
        if image.fits:
            found.add(f"{path}.fit", "has no meaning for url; send the content, or drop fit")
        _check_url(image.url, f"{path}.url", found)
    return image


def _refuse(image: Image, wrong: Unreadable | SizeInvalid, found: _Findings) -> None:
    is_size = isinstance(wrong, SizeInvalid)
    reason = (errors.ImageSizeInvalid if is_size else errors.ImageUnreadable).reason
    could_fit = not image.fits and len(image.content) <= limits.FIT_BYTES_MAX
    helps = wrong.fit_does if could_fit else ""
    hint = f"; or set fit and the service {helps} it" if helps else ""
    found.add(f"{image.path}.content", f"{wrong}{hint}", reason)


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


def _sign(sign: str, path: str, found: _Findings) -> str:
    checked = signatures.checked(sign)
    if not checked:
        found.add(path, signatures.WRONG)
    return checked


def _class_filter(message: ClassFilter, found: _Findings) -> Classes:
    if not message.HasField("class_id1") and not message.HasField("class_id2"):
        found.add("class_filter", "names no class; set class_id1 or class_id2, or leave it out")
    if message.operator not in ClassFilter.Operator.values():
        found.add("class_filter.operator", f"{message.operator} is no Operator")
    return _classes(message, "class_filter.", found)


def _classes(
    message: NewImage | ClassFilter | UpdateImageRequest, prefix: str, found: _Findings
) -> Classes:
    class_id1 = message.class_id1 if message.HasField("class_id1") else None
    class_id2 = message.class_id2 if message.HasField("class_id2") else None
    for name, value in (("class_id1", class_id1), ("class_id2", class_id2)):
        if value is not None and not limits.CLASS_ID_MIN <= value <= limits.CLASS_ID_MAX:
            found.add(
                f"{prefix}{name}",
                f"{value} is out of range; use {limits.CLASS_ID_MIN} to {limits.CLASS_ID_MAX}",
            )
    return Classes(class_id1, class_id2)


def _check_brief(brief: str, path: str, found: _Findings) -> None:
    length = len(brief.encode())
    if not 0 < length <= limits.BRIEF_BYTES_MAX:
        found.add(path, f"{length} bytes of UTF-8; use 1 to {limits.BRIEF_BYTES_MAX}")


def _policy(policy: v1.DuplicatePolicy.ValueType, path: str, found: _Findings) -> DuplicatePolicy:
    if policy not in _POLICIES:
        found.add(path, f"{policy} is no DuplicatePolicy")
    return _POLICIES.get(policy, DuplicatePolicy.REJECT)
