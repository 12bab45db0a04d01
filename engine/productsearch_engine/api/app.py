"""The HTTP surface: the token endpoint, the four calls, health and metrics.

Answers for every API answer being status 200 with the contract's JSON, for the event loop
never waiting on work (bodies are parsed, pictures decoded and SQL run in threads), and for
one access line a call, without query, token or picture. Does not know what calls do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl

import psycopg
from psycopg_pool import ConnectionPool
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from productsearch_engine import metrics
from productsearch_engine.api import bodies, codes, forms
from productsearch_engine.api.auth import Tokens, token_answer
from productsearch_engine.api.calls import Calls
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.parameters import READERS
from productsearch_engine.images.download import Fetcher
from productsearch_engine.limits import (
    BODIES_BYTES_MAX,
    BODY_BYTES_MAX,
    CALLS_MAX,
    DOWNLOAD_S,
    DOWNLOADS_MAX,
    HEALTH_WAIT_S,
    TOKEN_BODY_BYTES_MAX,
)
from productsearch_engine.store.libraries import Libraries, UnknownClientError, WrongSecretError

_log = logging.getLogger(__name__)
_access = logging.getLogger("productsearch_engine.access")

_PATH = "/rest/2.0/image-classify/v1/realtime_search/product/"
_INLINE_BYTES_MAX = 16 << 10
"""Smaller bodies are parsed where they are: a thread's turn would cost more."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Engine:
    """The application's endpoints and what they work with."""

    def __init__(
        self,
        *,
        pool: ConnectionPool[Any],
        libraries: Libraries,
        calls: Calls,
        tokens: Tokens,
        fetcher: Fetcher,
        workers: int,
    ):
        self._pool = pool
        self._libraries = libraries
        self._calls = calls
        self._tokens = tokens
        self._fetcher = fetcher
        self._work = ThreadPoolExecutor(workers, "work")
        self._downloads = ThreadPoolExecutor(DOWNLOADS_MAX, "download")
        # Of its own: the probe must not wait behind pictures.
        self._probe = ThreadPoolExecutor(1, "probe")
        self._metrics = metrics.Metrics()
        self._memory = bodies.Allowance(BODIES_BYTES_MAX)
        self._in_flight = 0

    def application(self) -> Starlette:
        """Return the ASGI application."""
        every = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
        return Starlette(
            routes=[
                Route("/oauth/2.0/token", self.token, methods=["GET", "POST"]),
                Route(_PATH + "{method}", self.call, methods=every),
                Route("/rest/2.0/{rest:path}", self.call, methods=every),
                Route("/healthz", self.health),
                Route("/metrics", self.metrics),
            ]
        )

    async def call(self, request: Request) -> Response:
        """Answer one of the four calls, or refuse a URL that is none of them."""
        began = time.perf_counter()
        method = request.path_params.get("method", "other")
        if method not in READERS or request.method != "POST":
            method = "other"
        log_id = 10**17 + secrets.randbelow(2**63 - 10**17)
        self._in_flight += 1
        try:
            body: Mapping[str, object] = {"log_id": log_id, **await self._answer(request, method)}
            code = 0
        except ApiError as error:
            body, code = error.answer(log_id), error.code
        except ClientDisconnect:
            return Response()
        # The boundary: whatever else goes wrong is told as a code, and to the log alone.
        except Exception as error:  # noqa: BLE001
            failed = _failure(error, log_id)
            body, code = failed.answer(log_id), failed.code
        finally:
            self._in_flight -= 1
        self._note(method, code, log_id, began)
        return _json(body)

    async def _answer(self, request: Request, method: str) -> Mapping[str, object]:
        if method == "other":
            raise ApiError(codes.UNSUPPORTED_METHOD)
        query = dict(parse_qsl(request.scope["query_string"].decode("latin-1")))
        app_id = self._tokens.app_of(query.get("access_token", ""))
        if self._in_flight > CALLS_MAX:
            raise ApiError(codes.REQUEST_LIMIT)
        async with self._memory.granted(bodies.announced(request, BODY_BYTES_MAX)):
            body = await bodies.read(request, BODY_BYTES_MAX)
            kind = request.headers.get("content-type", "")
            if len(body) > _INLINE_BYTES_MAX:
                fields = await _in(self._work, forms.parse, kind, body)
            else:
                fields = forms.parse(kind, body)
            del body
            wanted = READERS[method](fields)
            download = None
            if wanted.source.url is not None:
                download = await self._download(wanted.source.url)
            return await _in(self._work, self._calls.answer, app_id, wanted, download)

    async def _download(self, url: str) -> bytes:
        # Name lookups know no deadline: their thread is left to itself.
        try:
            async with asyncio.timeout(DOWNLOAD_S + 1):
                return await _in(self._downloads, self._fetcher.fetch, url)
        except TimeoutError:
            raise ApiError(codes.URL_TIMEOUT) from None

    async def token(self, request: Request) -> Response:
        """Issue a token for a key pair; the only endpoint that uses HTTP status codes."""
        began = time.perf_counter()
        log_id = 0
        try:
            status, body = await self._grant(request)
        except ApiError as error:
            status, body = 400, {"error": "invalid_request", "error_description": error.message}
        except ClientDisconnect:
            return Response()
        except Exception as error:  # noqa: BLE001 - the boundary, as in call()
            status, body = 503, {"error": "server_error", "error_description": "try again later"}
            _failure(error, log_id)
        self._note("token", 0 if status == 200 else status, log_id, began)
        return _json(body, status)

    async def _grant(self, request: Request) -> tuple[int, Mapping[str, object]]:
        given = dict(parse_qsl(request.scope["query_string"].decode("latin-1")))
        if request.method == "POST":
            body = await bodies.read(request, TOKEN_BODY_BYTES_MAX)
            fields = forms.parse(request.headers.get("content-type", ""), body)
            given |= {
                name.decode(errors="replace"): value.decode(errors="replace")
                for name, value in fields.items()
            }
        if given.get("grant_type") != "client_credentials":
            return 400, _refusal("unsupported_grant_type", "only client_credentials is supported")
        key, secret = given.get("client_id", ""), given.get("client_secret", "")
        try:
            app_id = await _in(self._work, self._libraries.authenticate, key, secret)
        except UnknownClientError:
            return 401, _refusal("invalid_client", "unknown client id")
        except WrongSecretError:
            return 401, _refusal("invalid_client", "Client authentication failed")
        return 200, token_answer(self._tokens.issue(app_id))

    async def health(self, _request: Request) -> Response:
        """Answer 200 while the database answers, else 503."""
        try:
            async with asyncio.timeout(HEALTH_WAIT_S + 1):
                await _in(self._probe, self._ask_database)
        except (psycopg.Error, TimeoutError):
            return _json({"status": "database unavailable"}, 503)
        return _json({"status": "ok"})

    def _ask_database(self) -> None:
        with self._pool.connection(timeout=HEALTH_WAIT_S) as connection:
            connection.execute("select 1")

    async def metrics(self, _request: Request) -> Response:
        """Answer the counters."""
        return Response(self._metrics.text(), media_type=metrics.CONTENT_TYPE)

    def _note(self, method: str, code: int, log_id: int, began: float) -> None:
        seconds = time.perf_counter() - began
        self._metrics.count(method, code, seconds)
        _access.info("method=%s code=%d ms=%.1f log_id=%d", method, code, seconds * 1e3, log_id)


async def _in(
    pool: ThreadPoolExecutor, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))


def _failure(error: Exception, log_id: int) -> ApiError:
    """Log what is no answer of the contract; a database that is away is worth a retry."""
    if isinstance(error, psycopg.OperationalError):
        _log.error("log_id=%d database: %s", log_id, type(error).__name__)
        return ApiError(codes.UNAVAILABLE)
    _log.error("log_id=%d internal error", log_id, exc_info=error)
    return ApiError(codes.INTERNAL)


def _refusal(error: str, description: str) -> Mapping[str, object]:
    return {"error_description": description, "error": error}


def _json(body: Mapping[str, object], status: int = 200) -> Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, status, media_type="application/json")
