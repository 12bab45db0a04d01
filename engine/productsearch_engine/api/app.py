"""The routes of the REST contract and the error boundary around each call.

Every answer of a call is HTTP 200 with the contract's JSON. The event loop never waits for
work: bodies are parsed and SQL is run in threads, images are decoded in processes. Does not
know what a call does (``api.calls``).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager, nullcontext, suppress
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from productsearch_engine import traces
from productsearch_engine.api import bodies, codes, forms
from productsearch_engine.api.access_log import LEFT, AccessLog
from productsearch_engine.api.apps import Apps
from productsearch_engine.api.auth import Tokens
from productsearch_engine.api.calls import CallerGoneError, Calls
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.api.in_flight import InFlight
from productsearch_engine.api.parameters import READERS
from productsearch_engine.api.shares import Shares
from productsearch_engine.api.token_endpoint import TokenEndpoint
from productsearch_engine.images.download import Downloader, named_late
from productsearch_engine.images.errors import ImageError
from productsearch_engine.limits import (
    BODIES_BYTES_MAX,
    BODY_BYTES_MAX,
    CALLS_MAX,
    DOWNLOAD_BYTES_MAX,
    DOWNLOAD_S,
    DOWNLOADS_MAX,
    TURN_S,
)
from productsearch_engine.metrics import Metrics
from productsearch_engine.store.app_keys import AppKeys
from productsearch_engine.threads import started as all_started
from productsearch_engine.traces import Export, Trace

_PATH = "/rest/2.0/image-classify/v1/realtime_search/product/"
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
_INLINE_BYTES_MAX = 16 << 10
"""Smaller bodies are parsed on the event loop: a switch of threads would cost more. They wait for
no memory either: all calls in flight together have 8 MB of them."""


class Api:
    """The endpoints of the contract."""

    def __init__(
        self,
        *,
        keys: AppKeys,
        apps: Apps,
        calls: Calls,
        tokens: Tokens,
        downloader: Downloader,
        metrics: Metrics,
        threads: Executor,
        export: Export | None = None,
        access_log_successes: float = 1.0,
    ):
        """``export`` gets each call that its caller records; None: no spans are sent."""
        self._apps = apps
        self._calls = calls
        self._export = export
        self._tokens = tokens
        self._downloader = downloader
        self._threads = threads
        self._downloads = all_started(DOWNLOADS_MAX, "download")
        self._access_log = AccessLog(metrics, access_log_successes)
        self._token_endpoint = TokenEndpoint(
            tokens=tokens,
            keys=keys,
            workers=self._threads,
            access_log=self._access_log,
        )
        self._memory = Shares(BODIES_BYTES_MAX)
        self._download_places = Shares(DOWNLOADS_MAX)
        self._in_flight = InFlight(CALLS_MAX)

    def routes(self) -> list[Route]:
        """Return the routes of the token endpoint and of the calls."""
        return [
            Route("/oauth/2.0/token", self._token_endpoint.answer, methods=["GET", "POST"]),
            Route(_PATH + "{method}", self.call, methods=_METHODS),
            Route("/rest/2.0/{rest:path}", self.call, methods=_METHODS),
            # Starlette would redirect this one to the one above.
            Route("/rest/2.0", self.call, methods=_METHODS),
        ]

    async def call(self, request: Request) -> Response:
        """Answer one of the four calls; every other URL is error 3."""
        began_s = time.perf_counter()
        method = request.path_params.get("method", "other")
        if method not in READERS or request.method != "POST":
            method = "other"
        log_id = 10**17 + secrets.randbelow(2**63 - 10**17)
        header = request.headers.get(traces.HEADER)
        trace = traces.begin(header, exports=self._export is not None)
        failure = None
        try:
            response = JSONResponse(
                {"log_id": log_id, **await self._answer(request, method, trace)}
            )
            code = 0
        except (ClientDisconnect, CallerGoneError):
            self._access_log.left(method, log_id, began_s, trace)
            self._end(trace, method, LEFT, log_id)
            return Response()
        except Exception as error:  # noqa: BLE001 - the error boundary
            refusal = api_error(error, log_id)
            failure = error.failure if isinstance(error, ImageError) else None
            response, code = JSONResponse(refusal.answer(log_id)), refusal.code
        self._access_log.record(method, code, log_id, began_s, trace, failure)
        self._end(trace, method, code, log_id)
        return response

    def _end(self, trace: Trace, method: str, code: int, log_id: int) -> None:
        """Have a recorded call's spans sent; a stranger's word makes none."""
        if trace.recorded and trace.is_known and self._export is not None:
            trace.ended(method, code, log_id)
            self._export(trace)

    async def _answer(self, request: Request, method: str, trace: Trace) -> Mapping[str, object]:
        if method == "other":
            raise ApiError(codes.UNSUPPORTED_METHOD)
        query = dict(parse_qsl(request.scope["query_string"].decode("latin-1")))
        if "access_token" not in query and _is_signed(request):
            # An official SDK signs once it was refused a token. After this code the Java SDK
            # asks for a token again.
            raise ApiError(codes.SIGNATURE)
        session = self._tokens.session(query.get("access_token", ""))
        trace.is_known = True
        with self._in_flight.counted(session.app_id):
            trace.library = self._apps.name(session.app_id)
            app_id = await self._apps.admit(session)
            trace.library = self._apps.name(app_id)
            size = bodies.announced(request, BODY_BYTES_MAX)
            is_small = size <= _INLINE_BYTES_MAX
            async with nullcontext() if is_small else _in_turn(self._memory, app_id, size):
                wanted = READERS[method](await self._fields(request))
                if wanted.source.url is None:
                    return await self._calls.answer(app_id, wanted, None, request.is_disconnected)
            # The body is given back first: who holds some must not wait for more.
            async with _in_turn(self._memory, app_id, DOWNLOAD_BYTES_MAX):
                download = await self.download(app_id, wanted.source.url)
                return await self._calls.answer(app_id, wanted, download, request.is_disconnected)

    async def _fields(self, request: Request) -> forms.Fields:
        body = await bodies.read(request, BODY_BYTES_MAX)
        kind = request.headers.get("content-type", "")
        if len(body) <= _INLINE_BYTES_MAX:
            return forms.parse(kind, body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, forms.parse, kind, body)

    @asynccontextmanager
    async def admitted(self, app_id: int, size: int) -> AsyncIterator[None]:
        """Give a request that is no call its place and its memory, as a call has them.

        size: bytes of its body. Raises ApiError 4.
        """
        with self._in_flight.counted(app_id):
            if not size:
                yield
                return
            async with _in_turn(self._memory, app_id, size):
                yield

    async def download(self, app_id: int, url: str, *, any_file: bool = False) -> bytes:
        """Return what is at a URL; the caller has memory for it.

        ``any_file``: also what begins as no image that the contract accepts.

        Raises ImageError, NothingToSpareError, ApiError 4.
        """
        loop = asyncio.get_running_loop()
        places = self._download_places
        # A name lookup has no timeout of its own: its thread is not waited for, but it keeps its
        # place until it ends.
        await _turn(places, app_id, 1)

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the event loop has ended before
                loop.call_soon_threadsafe(places.release, app_id, 1)

        work = self._downloads.submit(self._downloader.download, url, any_file=any_file)
        work.add_done_callback(ended)
        try:
            async with asyncio.timeout(DOWNLOAD_S + 1):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            # The lookup of the host's name has not ended: nothing else takes so long.
            raise named_late(url) from None


def _is_signed(request: Request) -> bool:
    """Return whether a request has the BCE signature that replaces a token at the vendor's."""
    return request.headers.get("authorization", "").lower().startswith("bce-auth-v")


@asynccontextmanager
async def _in_turn(shares: Shares, app_id: int, size: int) -> AsyncIterator[None]:
    await _turn(shares, app_id, size)
    try:
        yield
    finally:
        shares.release(app_id, size)


async def _turn(shares: Shares, app_id: int, size: int) -> None:
    """Acquire a part of the shares. Raises ApiError 4 if an app waits too long for its others."""
    try:
        async with asyncio.timeout(TURN_S):
            await shares.acquire(app_id, size)
    except TimeoutError:
        raise ApiError(codes.REQUEST_LIMIT) from None
