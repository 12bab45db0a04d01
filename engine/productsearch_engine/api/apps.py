"""What calls go by of their app: its library, whether its token still counts, and its quota.

An engine looks at an app again when what it remembers is older than ``LIBRARY_REMEMBERED_S``: so
long at most it goes by settings, and by a secret key, that were changed. Knows apps and codes.
Does not know calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor

from productsearch_engine.api import codes
from productsearch_engine.api.auth import Session
from productsearch_engine.api.codes import ApiError
from productsearch_engine.limits import LIBRARY_REMEMBERED_S, QPS_REFUSAL_REMEMBERED_S
from productsearch_engine.store.libraries import App, Libraries, Library
from productsearch_engine.store.quotas import Bound, Quotas

_CODES: Mapping[Bound, int] = {
    Bound.SECOND: codes.QPS_LIMIT,
    Bound.DAY: codes.DAILY_LIMIT,
    Bound.TOTAL: codes.TOTAL_LIMIT,
}


class Apps:
    """The apps of one database as one engine knows them; ``threads`` run the SQL."""

    def __init__(self, *, libraries: Libraries, quotas: Quotas, threads: Executor):
        self._libraries = libraries
        self._quotas = quotas
        self._threads = threads
        self._known: dict[int, tuple[App, float]] = {}
        self._refused: dict[int, tuple[Bound, float]] = {}

    async def admit(self, session: Session) -> int:
        """Return the app that makes a call, and count the call if the app has a quota.

        Raises ApiError: 216110 unknown app, 110 a token of an earlier secret key, 18, 17, 19 a
        quota; psycopg.Error.
        """
        loop, app_id = asyncio.get_running_loop(), session.app_id
        app = self._fresh(app_id)
        # A token of a newer key than is remembered: the key was changed a moment ago.
        if app is None or app.key_number < session.key_number:
            app = await loop.run_in_executor(self._threads, self._look, session)
        is_old = app.old_key_serves and session.key_number == app.key_number - 1
        if session.key_number != app.key_number and not is_old:
            raise ApiError(codes.TOKEN_INVALID)
        if app.has_quota:
            await loop.run_in_executor(self._threads, self._take, app_id)
        return app_id

    def library(self, app_id: int) -> Library:
        """Return an app's library; runs SQL. Raises ApiError 216017, 216110."""
        app = self._fresh(app_id) or self._look(Session(app_id, 0))
        if app.library is None:
            raise ApiError(codes.NOT_INITIALIZED)
        return app.library

    def name(self, app_id: int) -> str:
        """Return the name of an app's library as it is remembered; empty if it is not."""
        app, _ = self._known.get(app_id, (None, 0.0))
        return app.library.name if app and app.library else ""

    def forget(self, app_id: int) -> None:
        """Look at an app again at its next call."""
        self._known.pop(app_id, None)

    def _fresh(self, app_id: int) -> App | None:
        """Return what is remembered; an app without a library may have one at any moment."""
        app, until_s = self._known.get(app_id, (None, 0.0))
        return app if app and app.library and time.monotonic() < until_s else None

    def _look(self, session: Session) -> App:
        # Of calls that came together the first has looked for all.
        app = self._fresh(session.app_id)
        if app is None or app.key_number < session.key_number:
            asked_s = time.monotonic()
            app = self._libraries.app(session.app_id)
            if app is None:
                raise ApiError(codes.APP_UNKNOWN)
            self._known[session.app_id] = app, asked_s + LIBRARY_REMEMBERED_S
        return app

    def _take(self, app_id: int) -> None:
        """Count a call. What was just refused is refused again without asking the database."""
        bound, until_s = self._refused.get(app_id, (None, 0.0))
        if bound is None or until_s < time.monotonic():
            bound = self._quotas.take(app_id)
            if bound is None:
                self._refused.pop(app_id, None)
                return
            short = bound is Bound.SECOND
            remembered_s = QPS_REFUSAL_REMEMBERED_S if short else LIBRARY_REMEMBERED_S
            self._refused[app_id] = bound, time.monotonic() + remembered_s
        raise ApiError(_CODES[bound])
