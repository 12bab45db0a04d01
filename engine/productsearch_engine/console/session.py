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

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from productsearch_engine.console import passwords
from productsearch_engine.limits import SESSION_RENEWED_S, SESSION_S, SESSIONS_S

# Part of what is signed, so that a signature made for another purpose is no session.
_PURPOSE = b"productsearch-engine console 2"
_SESSION = "productsearch_console"
_BESIDE = "productsearch_console_beside"
_NONCE = "productsearch_console_form"


@dataclass(frozen=True, kw_only=True)
class Session:
    """Somebody who has signed in."""

    app_id: int
    name: str
    """The user's name; for a key pair the API key."""
    stamp: str
    """Of the user's password, or the key pair's secret, at that time (``passwords``)."""
    began: int
    """When somebody signed in, in seconds since 1970."""

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


class Sessions:
    """Reads and writes the cookies under the engine's signing key."""

    def __init__(self, key: bytes):
        self._key = hmac.new(key, _PURPOSE, hashlib.sha256).digest()
        # A salt each: no cookie of one kind is one of the other.
        self._serializers = {
            cookie: URLSafeTimedSerializer(
                self._key, salt=salt, signer_kwargs={"digest_method": hashlib.sha256}
            )
            for cookie, salt in ((_SESSION, "session"), (_BESIDE, "beside"))
        }

    def read(self, request: Request) -> Session | None:
        """Return the session of a request, None if there is none that is valid."""
        return self._read(request, _SESSION)

    def beside(self, request: Request) -> Session | None:
        """Return the session of the other library that somebody compares with."""
        return self._read(request, _BESIDE)

    def _read(self, request: Request, cookie: str) -> Session | None:
        try:
            members = self._serializers[cookie].loads(request.cookies[cookie], max_age=SESSION_S)
            session = Session(**members)
            return session if time.time() - session.began < SESSIONS_S else None
        except (KeyError, BadSignature, TypeError):
            return None

    def begin(
        self, request: Request, response: Response, *, app_id: int, name: str, stamp: str
    ) -> None:
        """Give a new session to who gets the response."""
        session = Session(app_id=app_id, name=name, stamp=stamp, began=int(time.time()))
        self._begin(request, response, _SESSION, session)
        self.end_beside(response)
        response.delete_cookie(_NONCE, path="/console")

    def begin_beside(
        self, request: Request, response: Response, *, app_id: int, name: str, stamp: str
    ) -> None:
        """Give a session of another library to compare with; no form is sent in it."""
        session = Session(app_id=app_id, name=name, stamp=stamp, began=int(time.time()))
        self._begin(request, response, _BESIDE, session)

    def go_on(self, request: Request, response: Response, session: Session) -> None:
        """Let a session that is used last as long as one that begins now, each hour anew."""
        try:
            self._serializers[_SESSION].loads(request.cookies[_SESSION], max_age=SESSION_RENEWED_S)
        except (KeyError, BadSignature):
            self._begin(request, response, _SESSION, session)

    def left_s(self, request: Request, session: Session) -> float:
        """Return how long the session of a request lasts if no page is opened meanwhile."""
        _, signed = self._serializers[_SESSION].loads(
            request.cookies[_SESSION], return_timestamp=True
        )
        ends_s = min(signed.timestamp() + SESSION_S, session.began + SESSIONS_S)
        return float(ends_s - time.time())

    def _begin(self, request: Request, response: Response, cookie: str, session: Session) -> None:
        _set(request, response, cookie, str(self._serializers[cookie].dumps(asdict(session))))

    def end(self, response: Response) -> None:
        """Take the session away, and the one beside it."""
        response.delete_cookie(_SESSION, path="/console")
        self.end_beside(response)

    def end_beside(self, response: Response) -> None:
        """Take the session of the other library away."""
        response.delete_cookie(_BESIDE, path="/console")

    def nonce(self, request: Request) -> str:
        """Return the nonce of somebody who has not signed in, a new one if there is none."""
        known = request.cookies.get(_NONCE, "")
        return known if 16 <= len(known) <= 64 else secrets.token_urlsafe(16)

    def keep_nonce(self, request: Request, response: Response, nonce: str) -> None:
        """Let the browser send the nonce with its next request."""
        _set(request, response, _NONCE, nonce)

    def token(self, whose: str) -> str:
        """Return what each form has to carry, of a person or of a nonce."""
        return hmac.new(self._key, b"form\0" + whose.encode(), hashlib.sha256).hexdigest()

    def is_token(self, whose: str, token: str) -> bool:
        """Return whether a form has the right token."""
        return hmac.compare_digest(self.token(whose).encode(), token.encode())


def _set(request: Request, response: Response, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=SESSION_S,
        path="/console",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
