"""The page of a library's last changes, and the undo.

Knows the journal.
"""

from __future__ import annotations

from starlette.responses import Response

from productsearch_engine.console import notice, pages
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit, safe, to
from productsearch_engine.store.images import LibraryFullError
from productsearch_engine.store.journal import ChangedSinceError, NothingToUndoError


class Changes:
    """Who changed what, when and from where."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

    async def show(self, visit: Visit) -> Response:
        """Answer with the last changes."""
        journal = self._rooms.stores.journal
        return pages.page(
            visit,
            "changes.html",
            section="changes",
            changes=await self._rooms.in_thread(journal.last, visit.library),
        )

    async def undo(self, visit: Visit, form: Form) -> Response:
        """Undo a change."""
        number = form.one("change")
        if not number.isascii() or not number.isdecimal() or len(number) > 18:
            raise Refusal(400, "undo")
        try:
            restored, wanted = await self._rooms.in_thread(
                self._rooms.stores.journal.undo, visit.library, int(number), visit.author
            )
        except NothingToUndoError:
            raise Refusal(409, "undo") from None
        except ChangedSinceError:
            raise Refusal(409, "changed_since") from None
        except LibraryFullError:
            raise Refusal(409, "full") from None
        told = "undone" if restored == wanted else "undone_part"
        return to(notice.with_fields(safe(form.one("back")), told=told))
