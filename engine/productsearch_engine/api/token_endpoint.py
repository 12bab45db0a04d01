"""The token endpoint: a key pair in, an access token out.

It is the only endpoint of the contract that uses HTTP status codes. A key pair that is refused
is 401 with JSON, a request that is wrong is 400 with JSON, and every failure that may be over
in a moment is 500 with plain text: the official SDKs for Python, Node and Java take any JSON
object without a token for a final refusal, and sign their calls from then on instead of asking
again. With 500 and a text that is no JSON all three ask again.

Knows the three ways in which clients ask (GET with a query, POST with a form, POST with a
query). Does not know how a token is made (``api.auth``) or how a secret is checked
(``store.app_keys``).
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from productsearch_engine.api import bodies, codes, forms
from productsearch_engine.api.access_log import AccessLog
from productsearch_engine.api.auth import Tokens, token_answer
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.limits import TOKEN_BODY_BYTES_MAX, TOKEN_CALLS_MAX
from productsearch_engine.store.app_keys import AppKeys, UnknownClientError, WrongSecretError

_NO_LOG_ID = 0
_LASTING = {
    codes.PARAM_INVALID: codes.MESSAGES[codes.PARAM_INVALID],
    codes.IMAGE_SIZE: "the request is too long",
}
"""What is told of a request that would fail again: a form that cannot be read or is too long."""


class TokenEndpoint:
    """Answers token requests; the database is asked in ``workers``."""

    def __init__(self, *, tokens: Tokens, keys: AppKeys, workers: Executor, access_log: AccessLog):
        self._tokens = tokens
        self._keys = keys
        self._workers = workers
        self._access_log = access_log
        self._in_flight = 0

    async def answer(self, request: Request) -> Response:
        """Issue a token for a key pair."""
        began_s = time.perf_counter()
        try:
            response = await self._grant(request)
        except ClientDisconnect:
            return Response()
        except Exception as error:  # noqa: BLE001 - the error boundary
            response = _failure(api_error(error, _NO_LOG_ID))
        status = response.status_code
        self._access_log.record("token", 0 if status == 200 else status, _NO_LOG_ID, began_s)
        return response

    async def _grant(self, request: Request) -> Response:
        # Counted from here on: a body that does not come holds up nobody else.
        fields = await _fields(request)
        if fields.get("grant_type") != "client_credentials":
            return _refusal(400, "unsupported_grant_type", "only client_credentials is supported")
        try:
            app_id, key_number = await self._app_of(fields)
        except UnknownClientError:
            return _refusal(401, "invalid_client", "unknown client id")
        except WrongSecretError:
            return _refusal(401, "invalid_client", "Client authentication failed")
        return JSONResponse(token_answer(self._tokens.issue(app_id, key_number)))

    async def _app_of(self, fields: dict[str, str]) -> tuple[int, int]:
        """Return app and number of the key pair. Raises ApiError 4 if too many ask."""
        if self._in_flight >= TOKEN_CALLS_MAX:
            raise ApiError(codes.REQUEST_LIMIT)
        self._in_flight += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._workers,
                self._keys.authenticate,
                fields.get("client_id", ""),
                fields.get("client_secret", ""),
            )
        finally:
            self._in_flight -= 1


async def _fields(request: Request) -> dict[str, str]:
    """Return the fields of the query and of the form; the form's win."""
    fields = dict(parse_qsl(request.scope["query_string"].decode("latin-1")))
    if request.method == "POST":
        body = await bodies.read(request, TOKEN_BODY_BYTES_MAX)
        form = forms.parse(request.headers.get("content-type", ""), body)
        fields |= {
            name.decode(errors="replace"): value.decode(errors="replace")
            for name, value in form.items()
        }
    return fields


def _refusal(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error_description": description, "error": error}, status)


def _failure(error: ApiError) -> Response:
    if error.code in _LASTING:
        return _refusal(400, "invalid_request", _LASTING[error.code])
    return PlainTextResponse("The token service is unavailable for the moment.", 500)
