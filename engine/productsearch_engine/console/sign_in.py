"""Signing in by a user's name and password or by the library's key pair, and signing out.

Does not know pages for people who have signed in.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from productsearch_engine.console import forms, language, origin, pages, passwords
from productsearch_engine.console.attempts import Attempts, counted_as
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.session import Sessions
from productsearch_engine.console.visit import address_of, safe, to
from productsearch_engine.limits import (
    PASSWORD_BYTES_MAX,
    PASSWORDS_AT_ONCE,
    SIGN_IN_NAME_TRIES,
    SIGN_IN_TRIES,
    TOKEN_BODY_BYTES_MAX,
    TOKEN_CALLS_MAX,
)
from productsearch_engine.store import key_pairs
from productsearch_engine.store.app_keys import UnknownClientError, WrongSecretError
from productsearch_engine.store.users import written


@dataclass(frozen=True, kw_only=True)
class Known:
    """Somebody whose password, or secret key, matches."""

    app_id: int
    name: str
    stamp: str


class SignIn:
    """The page to sign in."""

    def __init__(self, rooms: Rooms, sessions: Sessions):
        self._rooms = rooms
        self._sessions = sessions
        self._attempts = Attempts()
        self._checking = asyncio.Semaphore(PASSWORDS_AT_ONCE)
        self._in_flight = 0

    async def show(self, request: Request) -> Response:
        """Answer with the form."""
        return self._form(request, safe(request.query_params.get("back", "")))

    async def enter(self, request: Request) -> Response:
        """Begin a session for a name and a password that match."""
        # Whose form comes slowly, or never, holds no place.
        form = await forms.read(request, self._rooms.threads, TOKEN_BODY_BYTES_MAX)
        if self._in_flight >= TOKEN_CALLS_MAX:
            back, name = safe(form.one("back")), form.one("name").strip()[:PASSWORD_BYTES_MAX]
            return self._form(request, back, name, "busy", 429)
        self._in_flight += 1
        try:
            return await self._enter(request, form)
        finally:
            self._in_flight -= 1

    async def _enter(self, request: Request, form: forms.Form) -> Response:
        back, name = safe(form.one("back")), form.one("name").strip()[:PASSWORD_BYTES_MAX]
        nonce = self._sessions.nonce(request)
        if not origin.comes_from_here(request) or not self._sessions.is_token(
            nonce, form.one("token")
        ):
            return self._form(request, back, name, "origin", 403)
        try:
            known = await self.known(request, form)
        except Refusal as refused:
            return self._form(request, back, name, refused.key, refused.status)
        response = to(back)
        self._sessions.begin(
            request, response, app_id=known.app_id, name=known.name, stamp=known.stamp
        )
        self._sessions.know_browser(request, response, known.name)
        return response

    async def known(self, request: Request, form: forms.Form) -> Known:
        """Return whose name and password a form has. Raises Refusal, also after many tries."""
        name = form.one("name").strip()[:PASSWORD_BYTES_MAX]
        limits = {
            f"address {counted_as(address_of(request))}": SIGN_IN_TRIES,
            f"name {written(name).casefold()}": SIGN_IN_NAME_TRIES,
        }
        browser = self._sessions.browser(request, written(name))
        if browser is not None:
            limits = {f"browser {browser}": SIGN_IN_TRIES}
        if not all(self._attempts.take(key, most) for key, most in limits.items()):
            raise Refusal(429, "tries")
        known = await self._matching(name, form.one("password"))
        if known is None:
            raise Refusal(401, "sign_in")
        for key in limits:
            self._attempts.give_back(key)
        return known

    async def _matching(self, name: str, password: str) -> Known | None:
        if len(password.encode()) > PASSWORD_BYTES_MAX:
            return None
        user = await self._rooms.in_thread(self._rooms.stores.users.find, name)
        stored = None if user is None else user.password_hash
        async with self._checking:
            right = await self._rooms.in_thread(passwords.matches, password, stored)
        if user is not None and stored is not None:
            if not right:
                return None
            return Known(app_id=user.app_id, name=user.name, stamp=passwords.stamp(stored))
        with suppress(UnknownClientError, WrongSecretError):
            authenticate = self._rooms.stores.keys.authenticate
            app_id, _ = await self._rooms.in_thread(authenticate, name, password)
            # Of the very key that was given: it may be the one before, which ends earlier.
            stamp = passwords.stamp_of_keys(key_pairs.digest(password))
            return Known(app_id=app_id, name=name, stamp=stamp)
        return None

    def _form(
        self,
        request: Request,
        back: str,
        name: str = "",
        refused: str | None = None,
        status: int = 200,
    ) -> Response:
        nonce = self._sessions.nonce(request)
        values = {
            "back": back,
            "name": name,
            "refused": refused,
            "token": self._sessions.token(nonce),
        }
        response = pages.plain(
            request, language.of_request(request), "sign_in.html", status, values
        )
        self._sessions.keep_nonce(request, response, nonce)
        return response

    async def choose_language(self, request: Request) -> Response:
        """Remember the language that somebody chose."""
        code = request.path_params["code"]
        if code not in language.LANGUAGES:
            raise Refusal(404, "page")
        response = to(safe(request.query_params.get("back", "")))
        response.set_cookie(
            language.COOKIE,
            code,
            max_age=31536000,
            path="/console",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response
