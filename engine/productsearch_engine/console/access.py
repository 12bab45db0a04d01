"""What somebody does with their sessions: stays, signs out, looks at another library beside theirs.

Knows sessions. Does not know how a password is checked.
"""

from __future__ import annotations

import time

from starlette.responses import Response

from productsearch_engine.console import forms, pages
from productsearch_engine.console.compare import Compare
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.session import Sessions
from productsearch_engine.console.sign_in import SignIn
from productsearch_engine.console.visit import Visit, safe, to


class Access:
    """The forms and pages about sessions that have begun."""

    def __init__(self, rooms: Rooms, sessions: Sessions, sign_in: SignIn, compare: Compare):
        self._rooms = rooms
        self._sessions = sessions
        self._sign_in = sign_in
        self._compare = compare

    async def stay(self, visit: Visit) -> Response:
        """Answer who opens this page, by which the session goes on."""
        return pages.page(visit, "stay.html")

    async def sign_out(self, visit: Visit, form: forms.Form) -> Response:
        """End the session, also for a copy of its cookie; if so asked, all of the person's."""
        sessions = (self._sessions.read(visit.request), self._sessions.beside(visit.request))
        ids = [each.ended_by for each in sessions if each is not None]
        ended = [session for session, _ in ids]
        if form.one("everywhere") == "1":
            ended += [person for _, person in ids[:1]]
        end = self._rooms.stores.ended_sessions.end
        await self._rooms.in_thread(end, *ended, at_s=time.time())
        response = to("/console/sign-in")
        self._sessions.end(response)
        return response

    async def begin_beside(self, visit: Visit, form: forms.Form) -> Response:
        """Let somebody look at another library, too, by a name and a password of that one."""
        try:
            known = await self._sign_in.known(visit.request, form)
        except Refusal as refused:
            return await self._compare.refused(visit, form, refused)
        response = to(safe(form.one("back"), "/console/compare"))
        self._sessions.begin_beside(
            visit.request, response, app_id=known.app_id, name=known.name, stamp=known.stamp
        )
        return response

    async def end_beside(self, _visit: Visit, form: forms.Form) -> Response:
        """Leave the other library."""
        response = to(safe(form.one("back"), "/console/compare"))
        self._sessions.end_beside(response)
        return response
