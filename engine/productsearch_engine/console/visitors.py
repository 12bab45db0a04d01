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
        role, library = found
        return Visit(
            request=request,
            language=language.of_request(request),
            app_id=session.app_id,
            library=library,
            who=f"key {session.name[:6]}…" if session.is_of_keys else session.name,
            role=role,
            by_keys=session.is_of_keys,
            token=self._sessions.token(session.person),
            can_stay=session.can_stay,
        )

    async def beside(self, request: Request) -> Visit | None:
        """Return who somebody is in the other library that they compare with, None if in none."""
        session = self._sessions.beside(request)
        return None if session is None else await self.visit(request, session)

    def _found(self, session: Session) -> tuple[Role, Library] | None:
        role = self._role(session)
        app = None if role is None else self._rooms.stores.libraries.app(session.app_id)
        return None if role is None or app is None or app.library is None else (role, app.library)

    def _role(self, session: Session) -> Role | None:
        stores = self._rooms.stores
        if session.is_of_keys:
            digest = stores.libraries.secret_digest(session.app_id)
            same = digest is not None and passwords.stamp_of_keys(digest) == session.stamp
            return "edit" if same else None
        user = stores.users.find(session.name)
        if user is None or user.app_id != session.app_id:
            return None
        return user.role if passwords.stamp(user.password_hash) == session.stamp else None
