"""The tour: every RPC once for real, told as it happens, with what it proved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc

from demo.contact_sheet import Cell
from demo.products import Photo, Series
from productsearch import v1

_HITS_SHOWN_MAX = 5
_LINES_SHOWN = 8
_ROWS_SHOWN = 4
RIGHT, WRONG = "✓", "✗"
_BULK = v1.BulkAddImagesRequest


class TourError(Exception):
    """Something on the tour did not do what the product promises."""


@dataclass
class Figures:
    """What the searches of one series came to."""

    meaning: str
    searches: int = 0
    first_is_right: int = 0
    one_of_shown_is_right: int = 0
    rows: list[list[Cell]] = field(default_factory=list)


class Tour:
    """Walks through the service with some series of searches."""

    def __init__(self, stub: v1.ProductSearchStub, series: list[Series]) -> None:
        self._stub = stub
        self._series = series
        self._images: dict[str, Photo] = {}

    def walk(self) -> list[Figures]:
        """Go through all stations; raise TourError where one fails."""
        self._add()
        figures = [self._search(series) for series in self._series]
        sign, photo = next(iter(self._images.items()))
        self._update(sign, photo)
        self._page(photo.content)
        self._filter(photo)
        self._duplicate(photo.content, sign)
        self._bad_image()
        self._delete(sign, photo.content)
        return figures

    def _add(self) -> None:
        stored = {photo.key: photo for series in self._series for photo in series.stored}
        products = {photo.product for photo in stored.values()}

        def items() -> Iterator[_BULK]:
            keep = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
            yield _BULK(settings=_BULK.Settings(duplicate_policy=keep))
            for key, photo in sorted(stored.items()):
                yield _BULK(item=_BULK.Item(key=key, new_image=_new_image(photo)))

        for message in self._stub.BulkAddImages(items()):
            if message.HasField("summary"):
                summary = message.summary
                _say(
                    "BulkAddImages",
                    f"{summary.received_count} images of {len(products)} products: "
                    f"{summary.added_count} added, {summary.duplicate_count} duplicates, "
                    f"{summary.failed_count} failed",
                )
                _require(summary.failed_count == 0, "an image could not be added")
            elif message.result.HasField("added"):
                added = message.result.added
                self._images.setdefault(added.cont_sign, stored[message.result.key])
            else:
                _say("", f"{message.result.key}: {message.result.error.message}")

    def _search(self, series: Series) -> Figures:
        figures = Figures(series.meaning)
        print(f"\n  To be found: {series.meaning}.")
        _heading("searched with", "found first", "score", f"best first: {RIGHT} right, {WRONG} not")
        printed: set[str] = set()
        for query in series.queries:
            answers = (p for p in series.stored if p.product == query.product and p is not query)
            right = len({photo.content for photo in answers})  # of copies one is stored
            # No more hits than there can be right ones: a cross is always a miss.
            shown = min(_HITS_SHOWN_MAX, right)
            hits = self._hits(query, series, shown)
            _require(bool(hits), "a search found nothing")
            found = [photo.product == query.product for _, photo in hits]
            figures.searches += 1
            figures.first_is_right += found[0]
            figures.one_of_shown_is_right += any(found)
            if query.product in printed or len(printed) == _LINES_SHOWN:
                continue
            printed.add(query.product)
            marks = "".join(RIGHT if each else WRONG for each in found)
            score, first = hits[0]
            print(f"  {query.key:30.30} {first.key:30.30} {score:6.3f}  {marks}")
            if len(figures.rows) < _ROWS_SHOWN:
                row = [Cell(query.content, query.product, "searched with")]
                row += [
                    Cell(photo.content, photo.product, f"{score:.3f}", each)
                    for (score, photo), each in zip(hits, found, strict=True)
                ]
                figures.rows.append(row)
        return figures

    def _hits(self, query: Photo, series: Series, shown: int) -> list[tuple[float, Photo]]:
        """Return the best hits among the series' images, without the one searched with."""
        others = sum(photo not in series.stored for photo in self._images.values())
        hits = self._stub.SearchImages(
            v1.SearchImagesRequest(
                image=_source(query.content), page_size=min(others + shown + 1, 1000)
            )
        ).results
        photos = [(hit.score, self._images[hit.cont_sign]) for hit in hits]
        own = [(score, p) for score, p in photos if p in series.stored and p is not query]
        return own[:shown]

    def _update(self, sign: str, photo: Photo) -> None:
        brief = json.dumps({"name": photo.product, "price": "3.20 €"}, ensure_ascii=False)
        self._stub.UpdateImage(
            v1.UpdateImageRequest(image_ref=v1.ImageRef(cont_sign=sign), brief=brief)
        )
        found = self._find(photo.content, page_size=1)[0]
        _say("UpdateImage", f"{sign} now has the brief {found.brief}")
        _require(found.brief == brief, "the new brief was not found")

    def _page(self, image: bytes) -> None:
        seen: list[str] = []
        sizes: list[int] = []
        request = v1.SearchImagesRequest(image=_source(image), page_size=10)
        while True:
            page = self._stub.SearchImages(request)
            sizes.append(len(page.results))
            seen += (hit.cont_sign for hit in page.results)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        _say("SearchImages", f"all {len(seen)} images, in pages of {', '.join(map(str, sizes))}")
        _require({*seen} == {*self._images}, "paging lost or repeated an image")
        _require(len(seen) == len(self._images), "paging repeated an image")

    def _filter(self, photo: Photo) -> None:
        either = v1.ClassFilter(
            class_id1=photo.class_id,
            class_id2=max(each.group_id for each in self._images.values()),
            operator=v1.ClassFilter.OPERATOR_OR,
        )
        for words, class_filter in (
            (f"class_id1 = {photo.class_id}", v1.ClassFilter(class_id1=photo.class_id)),
            (f"class_id1 = {either.class_id1} or class_id2 = {either.class_id2}", either),
        ):
            hits = self._find(photo.content, class_filter=class_filter)
            names = sorted({self._images[hit.cont_sign].product for hit in hits})
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


def _new_image(photo: Photo) -> v1.NewImage:
    return v1.NewImage(
        image=_source(photo.content),
        brief=json.dumps({"name": photo.product, "key": photo.key}, ensure_ascii=False),
        class_id1=photo.class_id,
        class_id2=photo.group_id,
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
