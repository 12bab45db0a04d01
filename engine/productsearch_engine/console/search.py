"""The page to test a search: by a file, an address, an image of the library, or a part.

An image that is searched with is kept for a while, so that each result has an address. Knows
the calls and the store.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from productsearch_engine.api import calls, parameters
from productsearch_engine.console import asked, pages, refusal, snippets, view
from productsearch_engine.console.card import Card, card
from productsearch_engine.console.fitting import fitted
from productsearch_engine.console.forms import Form
from productsearch_engine.console.parts import SIDES, WHOLE, Parts, box_of, percents
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit, to
from productsearch_engine.embedding.calibration import SAME, SIMILAR, has_chances
from productsearch_engine.images.errors import ImageError
from productsearch_engine.limits import CONSOLE_PAGE, DOWNLOAD_BYTES_MAX, URL_BYTES_MAX
from productsearch_engine.store import signs
from productsearch_engine.store.images import Hit
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.queries import Query
from productsearch_engine.store.statements import ClassFilter

_log = logging.getLogger(__name__)


class SearchPage:
    """The search test."""

    def __init__(self, rooms: Rooms, parts: Parts):
        self._rooms = rooms
        self._parts = parts

    async def ask(self, visit: Visit, form: Form) -> Response | Callable[[], Awaitable[Response]]:
        """Take an image and go to the page of its results."""
        fields = asked.chosen({name: form.one(name) for name in asked.FILTERS})
        url = form.one("url").strip()
        if form.files:
            results = self._of_file(visit, form.files[0].content, fields)
            return await self._told(visit, form, "image", results)
        if not url or len(url.encode()) > URL_BYTES_MAX:
            refused = Refusal(400, "url_length" if url else "no_file")
            return self._refused(visit, form, "url" if url else "image", refused)

        async def downloaded() -> Response:
            async with self._rooms.api.admitted(visit.app_id, DOWNLOAD_BYTES_MAX):
                content = await self._downloaded(visit, url)
                image = await fitted(self._rooms, visit, content)
                if image.is_scaled:
                    source = parameters.Source(image=image.encoded)
                    return await self._results(visit, source, None, {**fields, "url": url})
                source = parameters.Source(url=url)
                return await self._results(visit, source, content, {**fields, "url": url})

        return lambda: self._told(visit, form, "url", downloaded())

    async def _downloaded(self, visit: Visit, url: str) -> bytes:
        """Return what is at a URL; log why it is not there, as a call's line does."""
        try:
            return await self._rooms.api.download(visit.app_id, url, any_file=True)
        except ImageError as error:
            if error.failure is not None:
                _log.info("url of %s: it %s", error.failure.host, error.failure.cause)
            raise

    async def _of_file(self, visit: Visit, content: bytes, fields: dict[str, str]) -> Response:
        image = await fitted(self._rooms, visit, content)
        source = parameters.Source(image=image.encoded)
        return await self._results(visit, source, None, fields)

    async def _results(
        self,
        visit: Visit,
        source: parameters.Source,
        download: bytes | None,
        fields: dict[str, str],
    ) -> Response:
        library, digest, described = await self._rooms.calls.describe(
            visit.app_id, source, download
        )
        subject = described.subject if described.is_clear else None
        query = Query(vector=described.vector, digest=digest, subject=subject)
        keep = self._rooms.stores.queries.keep
        key = await self._rooms.in_thread(keep, library, query, described.kept or b"")
        return to("/console/search?" + urlencode({"query": key.hex(), **fields}))

    async def _told(
        self, visit: Visit, form: Form, field: str, results: Awaitable[Response]
    ) -> Response:
        """Answer with the results, or with the form and why there are none."""
        try:
            return await results
        except Exception as error:  # noqa: BLE001 - told beside the field, as on other pages
            return self._refused(visit, form, field, refusal.of(error))

    def _refused(self, visit: Visit, form: Form, field: str, refused: Refusal) -> Response:
        fields = {name: form.one(name) for name in asked.CARRIED}
        told = {field: refused.key, "facts": refused.facts}
        return self._page(visit, fields, refused.status, refused=told)

    async def ask_part(self, visit: Visit, form: Form) -> Response:
        """Take a part of what was searched with and go to the page of its results."""
        fields = {name: form.one(name) for name in (*asked.SOURCES, *asked.CARRIED, *SIDES)}
        query = await asked.query_of(self._rooms, visit.library, fields)
        copy = None if query is None else await self._parts.copy(visit, fields)
        if query is None or copy is None:
            raise Refusal(404, "query")
        key = await self._parts.keep(visit, query, copy, box_of(fields))
        return to("/console/search?" + urlencode({"query": key.hex(), **asked.chosen(fields)}))

    async def show(self, visit: Visit) -> Response:
        """Answer with the form, and with the results if there is an image."""
        fields = dict(visit.request.query_params)
        query = await asked.query_of(self._rooms, visit.library, fields)
        if query is None:
            return self._page(visit, fields)
        if wrong := view.refused(fields):
            return self._page(visit, fields, 400, refused=wrong)
        start = _number(fields.get("start", ""))
        cards, more = await self._found(visit, query, asked.class_filter(fields), start)
        least = _least(fields)
        shown = [each for each in cards if (each.score or 0) >= least]
        same: dict[str, object] = {**asked.chosen(fields, *asked.CARRIED, *asked.SOURCES)}
        # Scores fall: below the line nothing follows.
        hides_more = more and len(shown) < len(cards)
        more = more and not hides_more
        following = urlencode({**same, "start": start + CONSOLE_PAGE}) if more else None
        before = urlencode({**same, "start": max(0, start - CONSOLE_PAGE)}) if start else None
        return self._page(
            visit,
            fields,
            **await self._part(visit, query, fields),
            region=query.region,
            cards=shown,
            hidden=len(cards) - len(shown),
            hides_more=hides_more,
            next=following and f"?{following}",
            previous=before and f"?{before}",
            searched=True,
            start=start,
        )

    async def _part(self, visit: Visit, query: Query, fields: dict[str, str]) -> dict[str, Any]:
        """Return the part that the form begins with, None if there is no image to choose it in."""
        copy = await self._parts.copy(visit, fields)
        if copy is None:
            return {}
        box = query.region or query.subject
        sign = signs.from_text(fields.get("like", "").encode())
        if box is None and sign is not None:
            box = await self._parts.subject(visit, sign, copy)
        return {"part": percents(box or WHOLE), "stands_out": box is not None}

    async def _found(
        self, visit: Visit, query: Query, chosen: ClassFilter, start: int
    ) -> tuple[list[Card], bool]:
        library = visit.library
        hits, more = await self._rooms.in_thread(
            self._rooms.stores.images.search,
            library,
            query.vector,
            chosen,
            start,
            CONSOLE_PAGE,
            query.digest,
        )
        return await cards_of(self._rooms, library, hits), more

    def _page(
        self, visit: Visit, fields: dict[str, str], status: int = 200, **values: Any
    ) -> Response:
        entered = {name: fields.get(name, "") for name in (*asked.CARRIED, *asked.SOURCES)}
        called = snippets.Search(
            url=entered["url"],
            classes=asked.class_filter(fields, lenient=True),
            least=_least(fields),
            region=values.get("region"),
        )
        common: dict[str, Any] = {
            "section": "search",
            "entered": entered,
            "address": asked.chosen(fields, *asked.CARRIED, *asked.SOURCES),
            "refused": {},
            "cards": [],
            "hidden": 0,
            "hides_more": False,
            "next": None,
            "previous": None,
            "searched": False,
            "start": 0,
            "least": called.least,
            "by_class": bool(called.classes.class_id1 or called.classes.class_id2),
            "calibrated": is_calibrated(visit.library),
            "lines": {"same": SAME, "similar": SIMILAR},
            "part": None,
            "stands_out": False,
            "region": None,
            "target": snippets.TARGET,
            "snippets": snippets.of(str(visit.request.base_url).rstrip("/"), called),
        }
        return pages.page(visit, "search.html", status, **(common | values))


def is_calibrated(library: Library) -> bool:
    """Return whether a library's scores are chances, and not cosines."""
    return library.calibration is not None or has_chances(library.embedding)


async def cards_of(rooms: Rooms, library: Library, hits: Sequence[Hit]) -> list[Card]:
    """Return the hits of a search as cards, the best first; without those deleted since."""
    scored = dict(zip((hit.sign for hit in hits), calls.scores(library, hits), strict=True))
    same = {hit.sign for hit in hits if hit.same}
    images = await rooms.in_thread(rooms.stores.gallery.find, library, [*scored])
    images.sort(key=lambda image: -scored[image.sign])
    calibrated = is_calibrated(library)
    cards = []
    for image in images:
        score = scored[image.sign]
        word = "image" if image.sign in same else _word(score) if calibrated else None
        cards.append(card(image, score, word))
    return cards


def _word(score: float) -> str:
    if score >= SAME:
        return "same"
    return "similar" if score >= SIMILAR else "other"


def _least(fields: dict[str, str]) -> float:
    try:
        value = float(fields.get("least") or 0)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 5 else 0
