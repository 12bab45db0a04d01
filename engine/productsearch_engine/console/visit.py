"""One request of somebody: who it is, which library, which language.

Made by ``app`` before a page runs. Knows no page.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse

from productsearch_engine.console.language import Language
from productsearch_engine.limits import UNDO_OFFERED_S
from productsearch_engine.store.journal import Author, Change
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.users import Role

LAST_CHANGE = "productsearch_console_change"
"""The cookie with the number of a browser's last change."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A change that was made, or a key of what else happened."""

    change: Change | None = None
    key: str = ""
    pin: int | None = None
    """The pin that was removed, if it is one."""
    pair: str = ""
    """The pair of images that was dismissed, if it is one."""
    lasts_s: int = UNDO_OFFERED_S


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request of somebody who has signed in."""

    request: Request
    language: Language
    app_id: int
    library: Library
    who: str
    role: Role
    secret_digest: bytes | None
    """Of the library's secret key, if they signed in with it, and with the present one."""
    token: str
    """What a form of this session has to carry."""
    can_stay: bool = True
    """Whether using the console lets the session go on: it is days old at most."""
    notice: Notice | None = None
    """What the address tells of a change that was just made."""

    @property
    def last_change(self) -> int | None:
        """Return the change that their browser made last, for about a minute."""
        return number(self.request.cookies.get(LAST_CHANGE, ""))

    @property
    def may_edit(self) -> bool:
        """Return whether the role lets them change the library."""
        return self.role == "edit"

    @property
    def by_keys(self) -> bool:
        """Return whether they signed in with the library's key pair, the present one."""
        return self.secret_digest is not None

    @property
    def author(self) -> Author:
        """Return what the journal writes down of them."""
        return Author(name=self.who, address=address_of(self.request))


def number(text: str) -> int | None:
    """Return the number of a change that a form, an address or a cookie names."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def address_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else ""


def here(request: Request) -> str:
    """Return the address of this view, to come back to; of what a form made, that of the form."""
    if request.method == "GET":
        return address(request)
    sent_from = parts_of(request.headers.get("referer", ""))
    if sent_from is None:
        return safe("")
    return safe(sent_from.path + (f"?{sent_from.query}" if sent_from.query else ""))


def parts_of(address: str) -> SplitResult | None:
    """Return the parts of an address that somebody sent, None if it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def address(request: Request) -> str:
    """Return the path and the query of a request."""
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def safe(back: str, default: str = "/console/") -> str:
    """Return ``back`` if it is an address within the console."""
    parts = parts_of(back) if back.isprintable() and len(back) <= 2048 else None
    inside = parts and not parts.scheme and not parts.netloc and "\\" not in back
    # Browsers take dots for a way up, also those that are written as %2e.
    stays = inside and not {".", ".."} & {*unquote(back.partition("?")[0]).split("/")}
    return back if stays and back.startswith("/console/") else default


def to(address: str) -> RedirectResponse:
    """Return an answer that sends the browser to another view."""
    return RedirectResponse(address, 303)
