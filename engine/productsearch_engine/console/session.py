"""Signed cookies that say who somebody is, and the tokens that their forms carry.

Nothing is stored: whether a user still exists is asked at each request (``app``). Knows keys
and cookies. Does not know passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from productsearch_engine.console import cookies, passwords
from productsearch_engine.limits import (
    BROWSER_KNOWN_S,
    CLOCKS_APART_S,
    SESSION_RENEWED_S,
    SESSION_S,
    SESSIONS_S,
)

# Part of what is signed, so that a signature made for another purpose is no session.
_PURPOSE = b"productsearch-engine console 3"
_SESSION = "productsearch_console"
_BESIDE = "productsearch_console_beside"
_NONCE = "productsearch_console_form"
_BROWSER = "productsearch_console_browser"


@dataclass(frozen=True, kw_only=True)
class Session:
    """Somebody who has signed in."""

    app_id: int
    name: str
    """The user's name; for a key pair the API key."""
    stamp: str
    """Of the user's password, or the key pair's secret, at that time (``passwords``)."""
    began: float
    """When somebody signed in, in seconds since 1970."""
    id: str
    """Random: what ends a session by signing out."""

    @property
    def is_of_keys(self) -> bool:
        """Return whether somebody signed in with the library's key pair."""
        return passwords.is_of_keys(self.stamp)

    @property
    def can_stay(self) -> bool:
        """Return whether the session's use lets it go on: otherwise only signing in again does."""
        return self.began + SESSIONS_S > time.time() + SESSION_S

    @property
    def person(self) -> str:
        """Return whose forms these are: the same after signing in again."""
        return f"{self.app_id}\0{self.name}\0{self.stamp}"

    @property
    def ended_by(self) -> tuple[bytes, bytes]:
        """Return the ids that end this session alone, and all of its person's."""
        return tuple(  # type: ignore[return-value]
            hashlib.sha256(each.encode()).digest()
            for each in (f"session\0{self.id}", f"person\0{self.person}")
        )


class Sessions:
    """Reads and writes the cookies under the engine's signing key."""

    def __init__(self, key: bytes):
        self._key = hmac.new(key, _PURPOSE, hashlib.sha256).digest()
        # A salt each: no cookie of one kind is one of the other.
        self._serializers = {
            cookie: URLSafeTimedSerializer(
                self._key, salt=salt, signer_kwargs={"digest_method": hashlib.sha256}
            )
            for cookie, salt in (
                (_SESSION, "session"),
                (_BESIDE, "beside"),
                (_BROWSER, "browser"),
            )
        }

    def read(self, request: Request) -> Session | None:
        """Return the session of a request, None if there is none that is valid."""
        return self._read(request, _SESSION)

    def beside(self, request: Request) -> Session | None:
        """Return the session of the other library that somebody compares with."""
        return self._read(request, _BESIDE)

    def _read(self, request: Request, cookie: str) -> Session | None:
        try:
            members, signed_s = self._signed(request, cookie)
            session = Session(**members)
        except (KeyError, BadSignature, TypeError):
            return None
        now_s = time.time()
        ages = (now_s - signed_s, SESSION_S), (now_s - session.began, SESSIONS_S)
        # Another engine's clock may be ahead of this one's.
        return session if all(-CLOCKS_APART_S <= age < most for age, most in ages) else None

    def begin(
        self, request: Request, response: Response, *, app_id: int, name: str, stamp: str
    ) -> None:
        """Give a new session to who gets the response."""
        self._begin(request, response, _SESSION, _new(app_id, name, stamp))
        self.end_beside(response)
        response.delete_cookie(_NONCE, path="/console")

    def begin_beside(
        self, request: Request, response: Response, *, app_id: int, name: str, stamp: str
    ) -> None:
        """Give a session of another library to compare with; no form is sent in it."""
        self._begin(request, response, _BESIDE, _new(app_id, name, stamp))

    def go_on(self, request: Request, response: Response, session: Session) -> None:
        """Let a session that is used last as long as one that begins now, each hour anew."""
        try:
            _, signed_s = self._signed(request, _SESSION)
        except (KeyError, BadSignature):
            signed_s = 0.0
        if time.time() - signed_s > SESSION_RENEWED_S:
            self._begin(request, response, _SESSION, session)

    def left_s(self, request: Request, session: Session) -> float:
        """Return how long the session of a request lasts if no page is opened meanwhile."""
        _, signed_s = self._signed(request, _SESSION)
        return min(signed_s + SESSION_S, session.began + SESSIONS_S) - time.time()

    def _signed(self, request: Request, cookie: str) -> tuple[dict[str, Any], float]:
        """Return what a cookie says, and when it was signed. Raises KeyError, BadSignature."""
        members, signed = self._serializers[cookie].loads(
            request.cookies[cookie], return_timestamp=True
        )
        return members, signed.timestamp()

    def _begin(self, request: Request, response: Response, cookie: str, session: Session) -> None:
        _set(request, response, cookie, str(self._serializers[cookie].dumps(asdict(session))))

    def end(self, response: Response) -> None:
        """Take the cookies of the session away, and of the one beside it."""
        response.delete_cookie(_SESSION, path="/console")
        self.end_beside(response)

    def end_beside(self, response: Response) -> None:
        """Take the session of the other library away."""
        response.delete_cookie(_BESIDE, path="/console")

    def browser(self, request: Request, name: str) -> str | None:
        """Return the id of a browser in which somebody of this name has signed in before, or None.

        It is no sign-in: failed ones of such a browser are counted by themselves.
        """
        try:
            members, signed_s = self._signed(request, _BROWSER)
            same = members["name"] == name and time.time() - signed_s < BROWSER_KNOWN_S
            return str(members["id"]) if same else None
        except (KeyError, BadSignature, TypeError):
            return None

    def know_browser(self, request: Request, response: Response, name: str) -> None:
        """Let a browser be known for this name, for as long as it is used now and then."""
        known = self.browser(request, name) or secrets.token_urlsafe(16)
        value = str(self._serializers[_BROWSER].dumps({"name": name, "id": known}))
        _set(request, response, _BROWSER, value, BROWSER_KNOWN_S)

    def nonce(self, request: Request) -> str:
        """Return the nonce of somebody who has not signed in, a new one if there is none."""
        known = request.cookies.get(_NONCE, "")
        # Never what may be a person: the page would show the token of their forms.
        good = 16 <= len(known) <= 64 and "\0" not in known
        return known if good else secrets.token_urlsafe(16)

    def keep_nonce(self, request: Request, response: Response, nonce: str) -> None:
        """Let the browser send the nonce with its next request."""
        _set(request, response, _NONCE, nonce)

    def token(self, whose: str) -> str:
        """Return what each form has to carry, of a person (``Session.person``) or of a nonce."""
        return hmac.new(self._key, b"form\0" + whose.encode(), hashlib.sha256).hexdigest()

    def is_token(self, whose: str, token: str) -> bool:
        """Return whether a form has the right token."""
        return hmac.compare_digest(self.token(whose).encode(), token.encode())


def _new(app_id: int, name: str, stamp: str) -> Session:
    return Session(
        app_id=app_id, name=name, stamp=stamp, began=time.time(), id=secrets.token_urlsafe(16)
    )


def _set(
    request: Request, response: Response, name: str, value: str, lasts_s: int = SESSION_S
) -> None:
    cookies.put(request, response, name, value, lasts_s)
