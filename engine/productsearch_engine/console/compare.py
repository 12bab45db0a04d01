"""The page of two searches with one image, side by side: of two embeddings, or of two libraries.

The second embedding is one that a change of embedding (``reembed``) made or left beside the one
that serves. The second library is one that the visitor signed in to as well, to look. Lines join
the ranks of one image, or of two with one brief. Knows the store and asks the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from starlette.responses import Response

from productsearch_engine.console import asked, pages
from productsearch_engine.console.card import Card
from productsearch_engine.console.forms import Form
from productsearch_engine.console.parts import Parts
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.search import cards_of
from productsearch_engine.console.visit import Visit, safe
from productsearch_engine.console.visitors import Visitors
from productsearch_engine.limits import COMPARED_RANKS
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.queries import Query
from productsearch_engine.store.reembeddings import Other
from productsearch_engine.store.statements import ClassFilter

ROW = 72
"""Height of a row and the gap below it, as in the style: the lines end in the middle of rows."""
GAP = 8


@dataclass(frozen=True, kw_only=True)
class Column:
    """One of the two searches."""

    title: str
    embedding: str
    cards: Sequence[Card]
    images: int
    """Images of its library, found or not."""
    refused: str | None = None
    """Why there are none, as a key of ``refusal.told``."""


@dataclass(frozen=True, kw_only=True)
class Join:
    """A line from a rank on the left to one on the right, both from 0 on."""

    left: int
    right: int

    @property
    def path(self) -> str:
        """Return the line in an image that is 100 wide."""
        begin, end = (rank * ROW + (ROW - GAP) // 2 for rank in (self.left, self.right))
        return f"M0 {begin}C50 {begin} 50 {end} 100 {end}"


class Compare:
    """The comparison of two searches."""

    def __init__(self, rooms: Rooms, parts: Parts, visitors: Visitors):
        self._rooms = rooms
        self._parts = parts
        self._visitors = visitors

    async def show(self, visit: Visit) -> Response:
        """Answer with both searches, or with what is missing for them."""
        return await self._page(visit, dict(visit.request.query_params))

    async def refused(self, visit: Visit, form: Form, refused: Refusal) -> Response:
        """Answer who was not let in to the other library: with the form, and why not."""
        back = safe(form.one("back"), "/console/compare")
        told = {"refused": refused.key, "name": form.one("name").strip(), "here": back}
        fields = dict(parse_qsl(back.partition("#")[0].partition("?")[2]))
        try:
            return await self._page(visit, fields, refused.status, **told)
        except Refusal:
            # The search that it was to be compared with is not kept any more.
            return await self._page(visit, {}, refused.status, **told)

    async def _page(
        self, visit: Visit, fields: dict[str, str], status: int = 200, **told: str
    ) -> Response:
        query = await asked.query_of(self._rooms, visit.library, fields)
        other = await self._rooms.in_thread(self._rooms.stores.reembeddings.other, visit.library)
        beside = await self._visitors.beside(visit.request)
        kinds = [kind for kind, it in (("embedding", other), ("library", beside)) if it]
        wanted = fields.get("with", "")
        kind = wanted if wanted in kinds else next(iter(kinds), None)
        columns: list[Column] = []
        if query is not None and kind is not None:
            chosen = asked.class_filter(fields)
            columns.append(await self._first(visit, query, chosen))
            if kind == "embedding" and other is not None:
                columns.append(await self._of_embedding(visit, query, chosen, fields, other))
            elif beside is not None:
                columns.append(await self._of_library(visit, query, chosen, fields, beside))
        joins = joined(columns[0].cards, columns[1].cards) if columns else []
        rows = max((len(column.cards) for column in columns), default=0)
        return pages.page(
            visit,
            "compare.html",
            status,
            section="compare",
            entered={name: fields.get(name, "") for name in (*asked.CARRIED, *asked.SOURCES)},
            address=asked.chosen(fields, *asked.CARRIED, *asked.SOURCES),
            kind=kind,
            other=other,
            beside=beside,
            columns=columns,
            joins=joins,
            there=(
                {each.left: each.right for each in joins},
                {each.right: each.left for each in joins},
            ),
            height=ROW * rows - GAP,
            ranks=rows,
            hits=COMPARED_RANKS,
            **{"refused": "", "name": "", **told},
        )

    async def _first(self, visit: Visit, query: Query, chosen: ClassFilter) -> Column:
        cards = await self._found(visit.library, query, chosen)
        library = visit.library
        return Column(
            title=library.name,
            embedding=library.embedding,
            cards=cards,
            images=library.image_count,
        )

    async def _of_library(
        self,
        visit: Visit,
        query: Query,
        chosen: ClassFilter,
        fields: dict[str, str],
        beside: Visit,
    ) -> Column:
        library = beside.library
        cards: list[Card] = []
        refused = None
        try:
            if library.embedding != visit.library.embedding:
                query = await self._again(visit, query, fields, library.embedding)
            cards = await self._found(library, query, chosen)
        except Refusal as refusal:
            refused = refusal.key
        return Column(
            title=library.name,
            embedding=library.embedding,
            cards=cards,
            images=library.image_count,
            refused=refused,
        )

    async def _of_embedding(
        self,
        visit: Visit,
        query: Query,
        chosen: ClassFilter,
        fields: dict[str, str],
        other: Other,
    ) -> Column:
        # Scores are what they mean by the embedding itself: a fit is of the one that serves.
        library = replace(visit.library, embedding=other.embedding, calibration=None)
        cards: list[Card] = []
        refused = None
        try:
            again = await self._again(visit, query, fields, other.embedding)
            hits = await self._rooms.in_thread(
                self._rooms.stores.second_search.hits,
                library,
                other,
                again.vector,
                chosen,
                query.digest,
                COMPARED_RANKS,
            )
            cards = await cards_of(self._rooms, library, hits)
        except Refusal as refusal:
            refused = refusal.key
        except LibraryGoneError:
            refused = "second"
        return Column(
            title=library.name,
            embedding=other.embedding,
            cards=cards,
            images=library.image_count,
            refused=refused,
        )

    async def _found(self, library: Library, query: Query, chosen: ClassFilter) -> list[Card]:
        search = self._rooms.stores.images.search
        hits, _ = await self._rooms.in_thread(
            search, library, query.vector, chosen, 0, COMPARED_RANKS, query.digest
        )
        return await cards_of(self._rooms, library, hits)

    async def _again(
        self, visit: Visit, query: Query, fields: dict[str, str], embedding: str
    ) -> Query:
        """Return the same image, or part, by another embedding. Raises Refusal."""
        copy = await self._parts.copy(visit, fields)
        if copy is None:
            raise Refusal(404, "no_copy")
        described = await self._parts.described(visit, copy, query.region, embedding)
        return replace(query, vector=described.vector)


def joined(left: Sequence[Card], right: Sequence[Card]) -> list[Join]:
    """Return what is on both sides: the same image, or else images with one brief in order."""
    found = []
    free = dict(enumerate(right))
    later = []
    for rank, card in enumerate(left):
        match = next((at for at, other in free.items() if other.sign == card.sign), None)
        if match is None:
            later.append((rank, card))
        else:
            del free[match]
            found.append(Join(left=rank, right=match))
    for rank, card in later:
        same = (at for at, other in free.items() if card.brief and other.brief == card.brief)
        match = next(same, None)
        if match is not None:
            del free[match]
            found.append(Join(left=rank, right=match))
    return found
