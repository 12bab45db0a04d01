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
from productsearch_engine.store.users import Role


class Visitors:
    """Asks the database, at each request, for what a session says."""

    def __init__(self, rooms: Rooms, sessions: Sessions):
        self._rooms = rooms
        self._sessions = sessions

    async def visit(self, request: Request, session: Session) -> Visit | None:
        """Return who somebody is, None if they have to sign in again."""
        role = await self._role(session)
        if role is None:
            return None
        app = await self._rooms.in_thread(self._rooms.stores.libraries.app, session.app_id)
        library = app.library if app else None
        if library is None:
            return None
        return Visit(
            request=request,
            language=language.of_request(request),
            app_id=session.app_id,
            library=library,
            who=f"key {session.name[:6]}…" if session.is_of_keys else session.name,
            role=role,
            by_keys=session.is_of_keys,
            token=self._sessions.token(session.person),
        )

    async def beside(self, request: Request) -> Visit | None:
        """Return who somebody is in the other library that they compare with, None if in none."""
        session = self._sessions.beside(request)
        return None if session is None else await self.visit(request, session)

    async def _role(self, session: Session) -> Role | None:
        if session.is_of_keys:
            find = self._rooms.stores.libraries.secret_digest
            digest = await self._rooms.in_thread(find, session.app_id)
            same = digest is not None and passwords.stamp_of_keys(digest) == session.stamp
            return "edit" if same else None
        user = await self._rooms.in_thread(self._rooms.stores.users.find, session.name)
        if user is None or user.app_id != session.app_id:
            return None
        return user.role if passwords.stamp(user.password_hash) == session.stamp else None
