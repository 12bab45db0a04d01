"""Who somebody is: the session of a request, and whether its user is still there.

A request may have a second session, of another library to compare with; it only looks. Knows
sessions and the store. Knows no page.
"""

from __future__ import annotations

from starlette.requests import Request

from productsearch_engine.console import language, passwords
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.session import Session, Sessions
from productsearch_engine.console.visit import Visit
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.users import Role


class Visitors:
    """Asks the database, at each request, for what a session says."""

    def __init__(self, rooms: Rooms, sessions: Sessions):
        self._rooms = rooms
        self._sessions = sessions

    async def visit(self, request: Request, session: Session) -> Visit | None:
        """Return who somebody is, None if they have to sign in again."""
        # One thread for both: a page with its thumbnails asks dozens of times.
        found = await self._rooms.in_thread(self._found, session)
        if found is None:
            return None
        role, secret_digest, library = found
        return Visit(
            request=request,
            language=language.of_request(request),
            app_id=session.app_id,
            library=library,
            who=f"key {session.name[:6]}…" if session.is_of_keys else session.name,
            role=role,
            secret_digest=secret_digest,
            token=self._sessions.token(session.person),
            can_stay=session.can_stay,
        )

    async def beside(self, request: Request) -> Visit | None:
        """Return who somebody is in the other library that they compare with, None if in none."""
        session = self._sessions.beside(request)
        return None if session is None else await self.visit(request, session)

    def _found(self, session: Session) -> tuple[Role, bytes | None, Library] | None:
        """Return the role, the digest of the present secret key if it is by that, the library."""
        stores = self._rooms.stores
        if stores.ended_sessions.has_ended(*session.ended_by, session.began):
            return None
        role, secret_digest = self._role(session)
        app = None if role is None else stores.libraries.app(session.app_id)
        if role is None or app is None or app.library is None:
            return None
        return role, secret_digest, app.library

    def _role(self, session: Session) -> tuple[Role | None, bytes | None]:
        stores = self._rooms.stores
        if session.is_of_keys:
            # A session of the key before ends with it, and makes no new one.
            digests = stores.keys.secret_digests(session.app_id)
            stamps = [passwords.stamp_of_keys(each) for each in digests if each is not None]
            by_present = session.stamp in stamps[:1]
            return ("edit" if session.stamp in stamps else None), digests[0] if by_present else None
        user = stores.users.find(session.name)
        if user is None or user.app_id != session.app_id:
            return None, None
        same = passwords.stamp(user.password_hash) == session.stamp
        return (user.role if same else None), None
