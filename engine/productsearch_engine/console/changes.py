"""The pages of a library's last changes, and the undo.

Each page has its address: which changes, and before which one. Bad values in it are left out.
Knows the journal.
"""

from __future__ import annotations

from typing import get_args
from urllib.parse import urlencode

from starlette.responses import Response

from productsearch_engine.console import notice, pages
from productsearch_engine.console.forms import Form
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit, safe, to
from productsearch_engine.limits import CHANGES_PAGE
from productsearch_engine.store import signs
from productsearch_engine.store.images import LibraryFullError
from productsearch_engine.store.journal import Chosen, Kind
from productsearch_engine.store.undo_errors import (
    ChangedSinceError,
    ErasedError,
    NothingToUndoError,
    OtherEmbeddingError,
)


class Changes:
    """Who changed what, when and from where."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

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
            notice.number(asked.get("before", "")),
        )
        more, changes = len(changes) > CHANGES_PAGE, changes[:CHANGES_PAGE]
        fields = {"kind": chosen.kind, "who": chosen.who, "undoable": chosen.undoable and 1}
        kept = {name: value for name, value in fields.items() if value}
        return pages.page(
            visit,
            "changes.html",
            section="changes",
            changes=changes,
            images={each.id: signs.to_text(each.sign) for each in changes if each.sign is not None},
            chosen=chosen,
            people=await self._rooms.in_thread(journal.people, visit.library),
            first="?" + urlencode(kept) if "before" in asked else None,
            next="?" + urlencode(kept | {"before": changes[-1].id}) if more else None,
        )

    async def undo(self, visit: Visit, form: Form) -> Response:
        """Undo a change."""
        change = notice.number(form.one("change"))
        if change is None:
            raise Refusal(400, "undo")
        try:
            restored, wanted = await self._rooms.in_thread(
                self._rooms.stores.journal.undo, visit.library, change, visit.author
            )
        except NothingToUndoError:
            raise Refusal(409, "undo") from None
        except ErasedError:
            raise Refusal(410, "erased") from None
        except ChangedSinceError:
            raise Refusal(409, "changed_since") from None
        except OtherEmbeddingError:
            raise Refusal(409, "embedding_since") from None
        except LibraryFullError:
            raise Refusal(409, "full") from None
        told = "undone" if restored == wanted else "undone_part"
        return to(notice.with_fields(safe(form.one("back")), told=told))
