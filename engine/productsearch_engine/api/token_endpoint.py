"""The token endpoint: a key pair in, an access token out.

It is the only endpoint of the contract that uses HTTP status codes. Knows the three ways in
which clients ask (GET with a query, POST with a form, POST with a query). Does not know how a
token is made (``api.auth``) or how a secret is checked (``store.libraries``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from productsearch_engine.api import bodies, forms
from productsearch_engine.api.access_log import AccessLog
from productsearch_engine.api.auth import Tokens, token_answer
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.limits import TOKEN_BODY_BYTES_MAX
from productsearch_engine.store.libraries import Libraries, UnknownClientError, WrongSecretError

_NO_LOG_ID = 0


class TokenEndpoint:
    """Answers token requests; the database is asked in ``workers``."""

    def __init__(
        self, *, tokens: Tokens, libraries: Libraries, workers: Executor, access_log: AccessLog
    ):
        self._tokens = tokens
        self._libraries = libraries
        self._workers = workers
        self._access_log = access_log

    async def answer(self, request: Request) -> Response:
        """Issue a token for a key pair."""
        began_s = time.perf_counter()
        try:
            status, body = await self._grant(request)
        except ApiError as error:
            status, body = 400, _refusal("invalid_request", error.message)
        except ClientDisconnect:
            return Response()
        except Exception as error:  # noqa: BLE001 - the error boundary
            api_error(error, _NO_LOG_ID)
            status, body = 503, _refusal("server_error", "try again later")
        self._access_log.record("token", 0 if status == 200 else status, _NO_LOG_ID, began_s)
        return JSONResponse(body, status)

    async def _grant(self, request: Request) -> tuple[int, Mapping[str, object]]:
        fields = await _fields(request)
        if fields.get("grant_type") != "client_credentials":
            return 400, _refusal("unsupported_grant_type", "only client_credentials is supported")
        try:
            app_id = await asyncio.get_running_loop().run_in_executor(
                self._workers,
                self._libraries.authenticate,
                fields.get("client_id", ""),
                fields.get("client_secret", ""),
            )
        except UnknownClientError:
            return 401, _refusal("invalid_client", "unknown client id")
        except WrongSecretError:
            return 401, _refusal("invalid_client", "Client authentication failed")
        return 200, token_answer(self._tokens.issue(app_id))


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


def _refusal(error: str, description: str) -> Mapping[str, object]:
    return {"error_description": description, "error": error}
