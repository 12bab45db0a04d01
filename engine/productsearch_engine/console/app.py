"""The console's routes, and what is checked before a page runs.

Of each request: its session (the user is still there, with the same password), its role, and
that a form comes from a page of this console. A request has a place among its app's calls, its
body has memory as a call's has. Every answer has the headers of ``origin``. Knows no page's
content.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from productsearch_engine.api import bodies
from productsearch_engine.console import (
    assets,
    forms,
    notice,
    origin,
    refusal,
)
from productsearch_engine.console.access import Access
from productsearch_engine.console.add import Add
from productsearch_engine.console.bulk import Bulk
from productsearch_engine.console.changes import Changes
from productsearch_engine.console.compare import Compare
from productsearch_engine.console.dismissed import Dismissed
from productsearch_engine.console.doubles import Doubles
from productsearch_engine.console.gallery import GalleryPage
from productsearch_engine.console.image import ImagePage
from productsearch_engine.console.library import LibraryPage
from productsearch_engine.console.media import Media
from productsearch_engine.console.parts import Parts
from productsearch_engine.console.pins import PinsPage
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.console.resent import Resent
from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.search import SearchPage
from productsearch_engine.console.session import Session, Sessions
from productsearch_engine.console.sign_in import SignIn
from productsearch_engine.console.visit import (
    Visit,
    here,
    safe,
    to,
)
from productsearch_engine.console.visitors import Visitors
from productsearch_engine.limits import CONSOLE_BODY_BYTES_MAX
from productsearch_engine.store.users import Role

Page = Callable[[Visit], Awaitable[Response]]
Answered = Response | Callable[[], Awaitable[Response]]
"""What a form's page returns: an answer, or what to do once the body's memory is given back."""
FormPage = Callable[[Visit, forms.Form], Awaitable[Answered]]
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What no page is for gets a page about that, too, with the headers of all answers."""
_Endpoint = Callable[[Request], Awaitable[Response]]


class Console:
    """The console of one engine, under its signing key."""

    def __init__(self, rooms: Rooms, key: bytes):
        self._rooms = rooms
        self._resent = Resent(rooms.threads)
        self._sessions = Sessions(key)
        self._sign_in = SignIn(rooms, self._sessions)
        self._visitors = Visitors(rooms, self._sessions)
        self._gallery = GalleryPage(rooms)
        self._image = ImagePage(rooms)
        self._bulk = Bulk(rooms)
        self._parts = Parts(rooms)
        self._search = SearchPage(rooms, self._parts)
        self._compare = Compare(rooms, self._parts, self._visitors)
        self._access = Access(rooms, self._sessions, self._sign_in, self._compare)
        self._pins = PinsPage(rooms, self._parts)
        self._doubles = Doubles(rooms)
        self._dismissed = Dismissed(rooms)
        self._library = LibraryPage(rooms)
        self._add = Add(rooms)
        self._changes = Changes(rooms, self._parts)
        self._media = Media(rooms)

    def routes(self) -> list[Route]:
        """Return the routes of all pages."""
        look, change = self._page, self._form
        return [
            _route("/console", self._open(_home)),
            _route("/console/", look(self._gallery.show)),
            _route("/console/sign-in", self._open(self._sign_in.show)),
            _route("/console/sign-in", self._open(self._sign_in.enter), "POST"),
            _route("/console/session", self._open(self._left)),
            _route("/console/stay", look(self._access.stay)),
            _route("/console/sign-out", change(self._access.sign_out, "look"), "POST"),
            _route("/console/language/{code}", self._open(self._sign_in.choose_language)),
            _route("/console/static/{digest}/{name}", self._open(assets.answer)),
            _route("/console/images/{sign}", look(self._image.show)),
            _route("/console/images/{sign}", change(self._image.edit), "POST"),
            _route("/console/delete", change(self._bulk.delete), "POST"),
            _route("/console/edit", change(self._bulk.show), "POST"),
            _route("/console/edit/apply", change(self._bulk.apply), "POST"),
            _route("/console/search", look(self._search.show)),
            _route("/console/search", change(self._search.ask, "look"), "POST"),
            _route("/console/search/part", change(self._search.ask_part, "look"), "POST"),
            _route("/console/compare", look(self._compare.show)),
            _route("/console/compare/library", change(self._access.begin_beside, "look"), "POST"),
            _route("/console/compare/leave", change(self._access.end_beside, "look"), "POST"),
            _route("/console/pins", look(self._pins.show)),
            _route("/console/pins", change(self._pins.add), "POST"),
            _route("/console/pins/remove", change(self._pins.remove), "POST"),
            _route("/console/pins/undo", change(self._pins.bring_back), "POST"),
            _route("/console/pins/run", change(self._pins.run, "look"), "POST"),
            _route("/console/doubles", look(self._doubles.show)),
            _route("/console/doubles", change(self._doubles.merge), "POST"),
            _route("/console/doubles/dismissed", look(self._dismissed.show)),
            _route("/console/doubles/dismiss", change(self._dismissed.dismiss), "POST"),
            _route("/console/doubles/take-back", change(self._dismissed.take_back), "POST"),
            _route("/console/library", look(self._library.show)),
            _route("/console/library/images.jsonl", look(self._library.export)),
            _route("/console/library/grow", change(self._library.grow), "POST"),
            _route("/console/library/empty", change(self._library.empty), "POST"),
            _route("/console/library/rotate", change(self._library.rotate), "POST"),
            _route("/console/add", look(self._add.show, "edit")),
            _route("/console/add", change(self._add.send), "POST"),
            _route("/console/changes", look(self._changes.show)),
            _route("/console/changes/{change}", look(self._changes.one)),
            _route("/console/undo", change(self._changes.undo), "POST"),
            _route("/console/thumbnails/{sign}.webp", look(self._media.thumbnail)),
            _route("/console/beside/{sign}.webp", look(self._beside_thumbnail)),
            _route("/console/copies/{sign}.webp", look(self._media.copy)),
            _route("/console/queries/{digest}.webp", look(self._media.query)),
            _route("/console/pins/{pin}.webp", look(self._media.pin)),
            _route("/console/subjects/{sign}.svg", look(self._parts.of_image)),
            _route("/console/frames/{box}.svg", look(self._parts.frame)),
            Route("/console/{rest:path}", self._open(self._no_page), methods=_METHODS),
        ]

    def _open(self, answer: _Endpoint) -> _Endpoint:
        """Return an endpoint for anybody."""

        async def endpoint(request: Request) -> Response:
            return await self._bounded(request, answer(request))

        return endpoint

    def _page(self, page: Page, role: Role = "look") -> _Endpoint:
        """Return the endpoint of a page to look at."""

        async def answer(request: Request) -> Response:
            session = self._sessions.read(request)
            if session is None:
                return _to_sign_in(request)
            async with self._rooms.api.admitted(session.app_id, 0):
                visit = await self._visit(request, session)
                if visit is None:
                    return _to_sign_in(request)
                _require(visit, role)
                response = await page(visit)
                if response.media_type == "text/html":
                    self._sessions.go_on(request, response, session)
                return response

        return self._open(answer)

    def _form(self, page: FormPage, role: Role = "edit") -> _Endpoint:
        """Return the endpoint of a page that takes a form."""

        async def answer(request: Request) -> Response:
            session = self._sessions.read(request)
            if session is None:
                return await self._resent.signed_out(request)
            if not origin.comes_from_here(request):
                raise Refusal(403, "origin")
            size = bodies.announced(request, CONSOLE_BODY_BYTES_MAX)
            async with self._rooms.api.admitted(session.app_id, size):
                visit = await self._visit(request, session)
                if visit is None:
                    return await self._resent.signed_out(request)
                form = await forms.read(request, self._rooms.threads)
                request.state.form = form
                if not self._sessions.is_token(session.person, form.one("token")):
                    raise Refusal(403, "person")
                _require(visit, role)
                answered = await page(visit, form)
            return answered if isinstance(answered, Response) else await answered()

        return self._open(answer)

    async def _beside_thumbnail(self, visit: Visit) -> Response:
        other = await self._visitors.beside(visit.request)
        if other is None:
            raise Refusal(404, "gone")
        return await self._media.thumbnail(other)

    async def _left(self, request: Request) -> Response:
        """Answer with the seconds that a session has, 0 if there is none; this is no use of it."""
        session = self._sessions.read(request)
        left_s = 0.0 if session is None else self._sessions.left_s(request, session)
        return Response(str(max(0, int(left_s))), media_type="text/plain")

    async def _visit(self, request: Request, session: Session) -> Visit | None:
        """Return who somebody is; a page about an error finds it in the request's state."""
        visit = await self._visitors.visit(request, session)
        if visit is not None and request.method == "GET":
            visit = replace(visit, notice=await notice.of(visit, self._rooms))
        request.state.visit = visit
        return visit

    async def _no_page(self, request: Request) -> Response:
        session = self._sessions.read(request)
        if session is not None:
            async with self._rooms.api.admitted(session.app_id, 0):
                await self._visit(request, session)
        raise Refusal(404 if request.method in ("GET", "HEAD") else 405, "page")

    async def _bounded(self, request: Request, answer: Awaitable[Response]) -> Response:
        """Turn every exception into a page, and protect the answer."""
        try:
            return origin.protect(await answer)
        except ClientDisconnect:
            return Response()
        except Exception as error:  # noqa: BLE001 - the error boundary
            return origin.protect(await self._resent.refused(request, refusal.of(error)))


def _route(path: str, endpoint: _Endpoint, method: str = "GET") -> Route:
    return Route(path, endpoint, methods=[method])


def _require(visit: Visit, role: Role) -> None:
    if role == "edit" and not visit.may_edit:
        raise Refusal(403, "role")


def _to_sign_in(request: Request) -> Response:
    if request.url.path.endswith(".webp"):
        # A page that a script has open would show the form in the place of a part.
        return Response("Sign in first.", 401, media_type="text/plain")
    return to("/console/sign-in?back=" + _quoted(safe(here(request))))


def _quoted(address: str) -> str:
    return quote(address, safe="")


async def _home(_request: Request) -> Response:
    return to("/console/")
