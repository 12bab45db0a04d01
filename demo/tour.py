"""The tour: every RPC once for real, told as it happens, with what it proved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc

from demo.contact_sheet import Cell
from demo.products import Product
from productsearch import v1

_HITS_SHOWN = 5
_ROWS_SHOWN = 8
_BULK = v1.BulkAddImagesRequest


class TourError(Exception):
    """Something on the tour did not do what the product promises."""


@dataclass
class Figures:
    """What the searches came to."""

    searches: int = 0
    first_is_same: int = 0
    any_of_five_is_same: int = 0
    same_among_five: int = 0
    rows: list[list[Cell]] = field(default_factory=list)


class Tour:
    """Walks through the service with a set of products."""

    def __init__(self, stub: v1.ProductSearchStub, products: list[Product]) -> None:
        self._stub = stub
        self._products = products
        self._images: dict[str, tuple[Product, bytes]] = {}

    def walk(self) -> Figures:
        """Go through all stations; raise TourError where one fails."""
        self._add()
        figures = self._search()
        sign, (product, image) = next(iter(self._images.items()))
        self._update(sign, product, image)
        self._page(image)
        self._filter(product, image)
        self._duplicate(image, sign)
        self._bad_image()
        self._delete(sign, image)
        return figures

    def _add(self) -> None:
        stored = {
            f"{product.name}/{number}": (product, image)
            for product in self._products
            for number, image in enumerate(product.stored, 1)
        }

        def items() -> Iterator[_BULK]:
            keep = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
            yield _BULK(settings=_BULK.Settings(duplicate_policy=keep))
            for key, (product, image) in stored.items():
                yield _BULK(item=_BULK.Item(key=key, new_image=_new_image(key, product, image)))

        for message in self._stub.BulkAddImages(items()):
            if message.HasField("summary"):
                summary = message.summary
                _say(
                    "BulkAddImages",
                    f"{summary.received_count} images of {len(self._products)} products: "
                    f"{summary.added_count} added, {summary.duplicate_count} duplicates, "
                    f"{summary.failed_count} failed",
                )
                _require(summary.failed_count == 0, "an image could not be added")
            elif message.result.HasField("added"):
                key = message.result.key
                self._images[message.result.added.cont_sign] = stored[key]
            else:
                _say("", f"{message.result.key}: {message.result.error.message}")

    def _search(self) -> Figures:
        figures = Figures()
        _heading("searched with", "found first", "score", "same product among first five")
        for product in self._products:
            for number, query in enumerate(product.queries):
                hits = self._stub.SearchImages(
                    v1.SearchImagesRequest(image=_source(query), page_size=_HITS_SHOWN)
                ).results
                _require(bool(hits), "a search found nothing")
                found = [self._images[hit.cont_sign][0] is product for hit in hits]
                figures.searches += 1
                figures.first_is_same += found[0]
                figures.any_of_five_is_same += any(found)
                figures.same_among_five += sum(found)
                if number == 0:
                    self._show(product, query, [*hits], figures)
        return figures

    def _show(
        self, product: Product, query: bytes, hits: list[v1.SearchResult], figures: Figures
    ) -> None:
        first = self._images[hits[0].cont_sign][0]
        marks = "".join("●" if self._images[hit.cont_sign][0] is product else "○" for hit in hits)
        print(f"  {product.name:30.30} {first.name:30.30} {hits[0].score:6.3f}  {marks}")
        if len(figures.rows) < _ROWS_SHOWN:
            row = [Cell(query, product.name, "query")]
            for hit in hits:
                owner, image = self._images[hit.cont_sign]
                row.append(Cell(image, owner.name, f"{hit.score:.3f}", owner is product))
            figures.rows.append(row)

    def _update(self, sign: str, product: Product, image: bytes) -> None:
        brief = json.dumps({"name": product.name, "price": "3.20 €"}, ensure_ascii=False)
        self._stub.UpdateImage(
            v1.UpdateImageRequest(image_ref=v1.ImageRef(cont_sign=sign), brief=brief)
        )
        found = self._find(image, page_size=1)[0]
        _say("UpdateImage", f"{sign} now has the brief {found.brief}")
        _require(found.brief == brief, "the new brief was not found")

    def _page(self, image: bytes) -> None:
        seen: list[str] = []
        sizes: list[int] = []
        request = v1.SearchImagesRequest(image=_source(image), page_size=25)
        while True:
            page = self._stub.SearchImages(request)
            sizes.append(len(page.results))
            seen += (hit.cont_sign for hit in page.results)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        _say("SearchImages", f"paged through all {len(seen)} images, {sizes} a page")
        _require({*seen} == {*self._images}, "paging lost or repeated an image")
        _require(len(seen) == len(self._images), "paging repeated an image")

    def _filter(self, product: Product, image: bytes) -> None:
        either = v1.ClassFilter(
            class_id1=product.class_id,
            class_id2=self._products[-1].group_id,
            operator=v1.ClassFilter.OPERATOR_OR,
        )
        for words, class_filter in (
            (f"class_id1 = {product.class_id}", v1.ClassFilter(class_id1=product.class_id)),
            (f"class_id1 = {either.class_id1} or class_id2 = {either.class_id2}", either),
        ):
            hits = self._find(image, class_filter=class_filter)
            names = sorted({self._images[hit.cont_sign][0].name for hit in hits})
            _say("SearchImages", f"{words}: {len(hits)} images of {_some(names)}")
            _require(bool(hits), "a filter lost its own image")

    def _duplicate(self, image: bytes, sign: str) -> None:
        again = v1.AddImageRequest(
            new_image=v1.NewImage(image=_source(image), brief="the same image again")
        )
        error = _failure(lambda: self._stub.AddImage(again))
        _say("AddImage", f"the same image again: {_told(error)}, stored as {sign}")
        _require(v1.cont_sign_of(error) == sign, "the error does not name the stored image")
        again.duplicate_policy = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
        outcome = v1.AddOutcome.Name(self._stub.AddImage(again).outcome)
        _say("AddImage", f"the same with DUPLICATE_POLICY_KEEP: {outcome}")

    def _bad_image(self) -> None:
        request = v1.AddImageRequest(
            new_image=v1.NewImage(
                image=v1.ImageSource(content=b"no image at all"), brief="", class_id1=70_000
            )
        )
        error = _failure(lambda: self._stub.AddImage(request))
        _say("AddImage", f"a bad request: {_told(error)}")
        violations = v1.field_violations_of(error)
        for path, description in violations.items():
            _say("", f"{path}: {description}")
        _require(len(violations) == 3, "not every wrong field was named")

    def _delete(self, sign: str, image: bytes) -> None:
        one = v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign=sign))
        self._stub.DeleteImage(one)
        gone = all(hit.cont_sign != sign for hit in self._find(image))
        _say("DeleteImage", f"{sign} is deleted and not found any more")
        _require(gone, "a deleted image was found")
        error = _failure(lambda: self._stub.DeleteImage(one))
        _say("DeleteImage", f"once more: {_told(error)}")
        rest = [other for other in self._images if other != sign]
        batch = v1.BatchDeleteImagesRequest(cont_signs=rest, allow_missing=True)
        failed = self._stub.BatchDeleteImages(batch).failed_count
        left = len(self._find(image))
        _say("BatchDeleteImages", f"{len(rest)} signatures, {failed} failed; {left} left to find")
        _require(failed == 0 and left == 0, "the library is not empty")

    def _find(
        self, image: bytes, *, page_size: int = 0, class_filter: v1.ClassFilter | None = None
    ) -> list[v1.SearchResult]:
        request = v1.SearchImagesRequest(
            image=_source(image), page_size=page_size, class_filter=class_filter
        )
        return [*self._stub.SearchImages(request).results]


def _source(image: bytes) -> v1.ImageSource:
    """Return a source with ``fit``: whatever the folder holds is brought inside the limits."""
    return v1.ImageSource(content=image, fit=True)


def _new_image(key: str, product: Product, image: bytes) -> v1.NewImage:
    return v1.NewImage(
        image=_source(image),
        brief=json.dumps({"name": product.name, "key": key}, ensure_ascii=False),
        class_id1=product.class_id,
        class_id2=product.group_id,
    )


def _failure(call: Callable[[], object]) -> grpc.RpcError:
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise TourError("a call that must fail succeeded")


def _told(error: grpc.RpcError) -> str:
    reason = v1.reason_of(error)
    if reason is None:
        raise TourError("an error without a reason")
    return f"{error.code().name} / {v1.ErrorReason.Name(reason)}"


def _require(kept: bool, broken: str) -> None:
    if not kept:
        raise TourError(broken)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _say(rpc: str, what: str) -> None:
    print(f"  {rpc:18} {what}")


def _heading(*columns: str) -> None:
    first, second, *rest = columns
    print(f"\n  {first:30} {second:30} {'  '.join(rest)}")


__all__ = ["Figures", "Tour", "TourError"]
