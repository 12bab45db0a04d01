"""The pages of a library's last changes, of one of them with all its images, and the undo.

Each page has its address: which changes, and before which one. Bad values in it are left out.
Knows the journal.
"""

from __future__ import annotations

from typing import get_args
from urllib.parse import urlencode

from starlette.responses import Response

from productsearch_engine.console import notice, pages
from productsearch_engine.console.card import card
from productsearch_engine.console.difference import Difference, differences, short, summed
from productsearch_engine.console.forms import Form
from productsearch_engine.console.parts import Parts
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit, number, safe
from productsearch_engine.limits import CHANGES_PAGE, CHANGES_TOLD, RENEWED_MAX, SELECTION_MAX
from productsearch_engine.store import signs
from productsearch_engine.store.details import Changed, Written
from productsearch_engine.store.images import LibraryFullError
from productsearch_engine.store.journal import Change, Chosen, Kind
from productsearch_engine.store.undo_errors import (
    ChangedSinceError,
    ErasedError,
    NothingToUndoError,
    OtherEmbeddingError,
    RoomUsedError,
)

_RENEWED_AT_ONCE = 16
_TOLD_SHORT = 3
_SUMMED_MAX = 12


class Changes:
    """Who changed what, when and from where."""

    def __init__(self, rooms: Rooms, parts: Parts):
        self._rooms = rooms
        self._parts = parts

    async def show(self, visit: Visit) -> Response:
        """Answer with a page of changes."""
        journal, asked = self._rooms.stores.journal, visit.request.query_params
        chosen = Chosen(
            kind=next((each for each in get_args(Kind) if each == asked.get("kind")), None),
            who=asked.get("who", "").replace("\0", "") or None,
            undoable=asked.get("undoable") == "1",
        )
        changes = await self._rooms.in_thread(
            journal.last,
            visit.library,
            CHANGES_PAGE + 1,
            chosen,
            number(asked.get("before", "")),
        )
        more, changes = len(changes) > CHANGES_PAGE, changes[:CHANGES_PAGE]
        fields = {"kind": chosen.kind, "who": chosen.who, "undoable": chosen.undoable and 1}
        kept = {name: value for name, value in fields.items() if value}
        return pages.page(
            visit,
            "changes.html",
            section="changes",
            changes=changes,
            details=await self._rooms.in_thread(self._details, visit, changes),
            short=short,
            images={each.id: signs.to_text(each.sign) for each in changes if each.sign is not None},
            chosen=chosen,
            people=await self._rooms.in_thread(journal.people, visit.library),
            first="?" + urlencode(kept) if "before" in asked else None,
            next="?" + urlencode(kept | {"before": changes[-1].id}) if more else None,
        )

    def _details(
        self, visit: Visit, changes: list[Change]
    ) -> dict[int, tuple[list[Difference], bool]]:
        """Return what is known of each change in short, and whether there is more.

        Of many images the first ones stand for all.
        """
        told = [each.id for each in changes if each.kind in ("edit", "delete")]
        found = self._rooms.stores.details.some(visit.library, told, CHANGES_TOLD)
        short_of: dict[int, tuple[list[Difference], bool]] = {}
        for change in changes:
            if change.id in found:
                counted, others = summed(map(_differences, found[change.id]), _TOLD_SHORT)
                more = others > 0 or change.image_count > len(found[change.id])
                short_of[change.id] = [each for each, _ in counted], more
        return short_of

    async def one(self, visit: Visit) -> Response:
        """Answer with a change and its images, each as it was and as it became."""
        asked = number(visit.request.path_params["change"])
        if asked is None:
            raise Refusal(404, "page")
        find = self._rooms.stores.journal.find
        change = await self._rooms.in_thread(find, visit.library, asked)
        if change is None:
            raise Refusal(404, "page")
        return await self._rooms.in_thread(self._one, visit, change)

    def _one(self, visit: Visit, change: Change) -> Response:
        after = signs.from_text(visit.request.query_params.get("after", "").encode())
        stores = self._rooms.stores
        found = stores.details.page(visit.library, change.id, CHANGES_PAGE + 1, after)
        more, found = len(found) > CHANGES_PAGE, found[:CHANGES_PAGE]
        # A delete may be of a whole library; an edit is of a selection.
        every = (
            stores.details.page(visit.library, change.id, SELECTION_MAX)
            if change.kind == "edit" and change.image_count > 1
            else []
        )
        stored = stores.gallery.find(visit.library, [each.sign for each in found])
        return pages.page(
            visit,
            "change.html",
            section="changes",
            c=change,
            short=short,
            summary=summed(map(_differences, every), _SUMMED_MAX),
            rows=[(signs.to_text(each.sign), _differences(each)) for each in found],
            titles={signs.to_text(each.sign): card(each).title for each in stored},
            first="?" if after is not None else None,
            next="?" + urlencode({"after": signs.to_text(found[-1].sign)}) if more else None,
        )

    async def undo(self, visit: Visit, form: Form) -> Response:
        """Undo a change."""
        change = number(form.one("change"))
        if change is None:
            raise Refusal(400, "undo")
        try:
            await self._renew(visit, change)
            undone = await self._rooms.in_thread(
                self._rooms.stores.journal.take_back, visit.library, change, visit.author
            )
        except NothingToUndoError:
            raise Refusal(409, "undo") from None
        except ErasedError:
            raise Refusal(410, "erased") from None
        except ChangedSinceError:
            raise Refusal(409, "changed_since") from None
        except OtherEmbeddingError:
            raise Refusal(409, "embedding_since") from None
        except RoomUsedError:
            raise Refusal(409, "room_used") from None
        except LibraryFullError:
            raise Refusal(409, "full") from None
        told = "undone" if undone.restored == undone.wanted else "undone_part"
        return notice.told(visit, safe(form.one("back")), done=undone.change, told=told)

    async def _renew(self, visit: Visit, change_id: int) -> None:
        """Let images that were deleted under another embedding have vectors of the present one.

        They are stored as they are made: an undo that is sent again goes on from there.
        """
        stores, library = self._rooms.stores, visit.library
        change = await self._rooms.in_thread(stores.journal.find, library, change_id)
        if change is None or not change.undoable or change.kind not in ("delete", "merge"):
            return
        left = await self._rooms.in_thread(
            stores.renewals.left, library, change_id, RENEWED_MAX + 1
        )
        if left > RENEWED_MAX:
            raise Refusal(409, "embedding_many")
        copies = stores.renewals.copies
        while some := await self._rooms.in_thread(copies, library, change_id, _RENEWED_AT_ONCE):
            vectors = {
                each.sign: (await self._parts.described(visit, each.webp, each.region)).vector
                for each in some
            }
            await self._rooms.in_thread(stores.renewals.store, library, change_id, vectors)


def _differences(changed: Changed) -> list[Difference]:
    """Return what an edit made of an image, or what was deleted of it."""
    before, after = changed.before, changed.after
    if before is None:
        return []
    if after is not None:
        return differences(before, after)
    nothing = Written(b"", None, None)
    return differences(before, nothing)
