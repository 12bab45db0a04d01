"""The four calls of the upstream, typed: which fields they send and what they answer.

Field names are the contract's; docs/wire-mapping.md has the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from functools import partial

from productsearch_service.call_context import CallContext
from productsearch_service.upstream import answers, codes
from productsearch_service.upstream.answers import Added, Page, Region
from productsearch_service.upstream.exchange import Call, Exchange, Fields
from productsearch_service.upstream.stats import UpstreamStats


@dataclass(slots=True)
class Image:
    """An image by its bytes or by its URL; exactly one of the two is set.

    ``form_value`` is what a form holds of the bytes (base64, escaped, in parts) and takes their
    place before the call. ``path`` is the request field that it came from, which errors name.
    """

    content: bytes | memoryview = field(default=b"", repr=False)
    fits: bool = False
    url: str = ""
    path: str = "image"
    form_value: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Classes:
    """Class ids, each 1 to 65535 or None."""

    class_id1: int | None = None
    class_id2: int | None = None

    @property
    def named(self) -> bool:
        """Whether there is one."""
        return self.class_id1 is not None or self.class_id2 is not None


@dataclass(eq=False)
class UpstreamClient:
    """The upstream's calls for one library.

    Every call raises ServiceErrors only: what the upstream's code means (see codes),
    UpstreamUnavailable, UpstreamProtocol, RateLimited, QuotaExhausted, DeadlineTooShort, and for
    an add whose outcome could not be settled AddOutcomeUnknown.
    """

    exchange: Exchange

    async def add(
        self,
        image: Image,
        brief: str,
        classes: Classes,
        context: CallContext,
        *,
        region: Region | None = None,
    ) -> Added:
        """Store an image; raise ImageAlreadyExists with its cont_sign if it is stored."""
        fields = _image_fields(image) | {"brief": brief} | _class_fields(classes)
        fields |= _region_fields(region)
        call = Call("add", fields, answers.added, image.path, done_before=codes.DUPLICATE)
        return await self.exchange.call(call, context)

    async def search(
        self,
        image: Image,
        classes: Classes,
        context: CallContext,
        *,
        either_class: bool,
        start: int,
        count: int,
        region: Region | None = None,
        rerank: bool | None = None,
    ) -> Page:
        """Find ``count`` images from rank ``start`` on, counted from 0."""
        fields = _image_fields(image) | _class_fields(classes)
        if classes.named:
            fields["tag_logic"] = "1" if either_class else "0"
        fields |= {"pn": str(start), "rn": str(count)} | _region_fields(region)
        if rerank is not None:
            fields["rerank"] = "1" if rerank else "0"
        read = partial(answers.page, count=count)
        return await self.exchange.call(Call("search", fields, read, image.path), context)

    async def update(
        self, target: Image | str, brief: str | None, classes: Classes, context: CallContext
    ) -> int:
        """Change what is not None of a stored image; return the log_id."""
        fields = _target_fields(target)
        if brief is not None:
            fields["brief"] = brief
        fields |= _class_fields(classes)
        call = Call("update", fields, answers.log_id, _path_of(target))
        return await self.exchange.call(call, context)

    async def delete(self, target: Image | str, context: CallContext) -> int:
        """Delete one stored image; return the log_id."""
        fields = _target_fields(target)
        call = Call("delete", fields, answers.log_id, _path_of(target), done_before=codes.NOT_FOUND)
        return await self.exchange.call(call, context)

    async def delete_batch(self, signs: Sequence[str], context: CallContext) -> int:
        """Delete up to 100 stored images by their signatures; return the log_id.

        One unknown signature has the whole batch refused with ImageNotFound.
        """
        fields: Fields = {"cont_sign": ";".join(signs)}
        return await self.exchange.call(Call("delete", fields, answers.log_id), context)

    def prepare(self) -> None:
        """Begin to fetch a token if one is needed."""
        self.exchange.prepare()

    def stats(self) -> UpstreamStats:
        """Return how the upstream is doing."""
        return self.exchange.stats()


def _image_fields(image: Image) -> Fields:
    return {"url": image.url} if image.url else {"image": image.form_value}


def _target_fields(target: Image | str) -> Fields:
    return _image_fields(target) if isinstance(target, Image) else {"cont_sign": target}


def _path_of(target: Image | str) -> str:
    return target.path if isinstance(target, Image) else ""


def _region_fields(region: Region | None) -> Fields:
    if region is None:
        return {}
    return {"region": ",".join(repr(float(part)) for part in astuple(region))}


def _class_fields(classes: Classes) -> Fields:
    fields: Fields = {}
    if classes.class_id1 is not None:
        fields["class_id1"] = str(classes.class_id1)
    if classes.class_id2 is not None:
        fields["class_id2"] = str(classes.class_id2)
    return fields
