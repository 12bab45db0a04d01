"""The token endpoint, and what becomes of a token that is wrong."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import requests
from starlette.applications import Starlette
from starlette.routing import Route

from demo.processes import Engine
from productsearch_engine.api.access_log import AccessLog
from productsearch_engine.api.auth import Tokens
from productsearch_engine.api.token_endpoint import TokenEndpoint
from productsearch_engine.metrics import Metrics
from productsearch_engine.store.app_keys import AppKeys
from tests.engine.calling import CALLS, Caller, code_of, image_field
from tests.engine.image_files import jpeg


def credentials(caller: Caller) -> dict[str, str]:
    """Return the three values that every way of asking sends."""
    return {
        "grant_type": "client_credentials",
        "client_id": caller.api_key,
        "client_secret": caller.secret_key,
    }


def test_three_ways_of_asking(shared_caller: Caller) -> None:
    """GET with a query, POST with a form, and POST with a query and no body all work."""
    url, pair = shared_caller.url + "/oauth/2.0/token", credentials(shared_caller)
    for response in (
        requests.get(url, params=pair, timeout=30),
        requests.post(url, data=pair, timeout=30),
        requests.post(url, params=pair, timeout=30),
        requests.post(url, files={name: (None, value) for name, value in pair.items()}, timeout=30),
    ):
        assert 200 == response.status_code
        token = response.json()["access_token"]
        assert 0 == code_of(shared_caller.answer("search", token=token, data=_search()))


def test_shape(shared_caller: Caller) -> None:
    """The answer has what the official SDKs look for, and every token is another."""
    answers = [shared_caller.ask_token().json() for _ in range(2)]
    assert answers[0]["access_token"] != answers[1]["access_token"]
    assert 2592000 == answers[0]["expires_in"]
    assert "brain_all_scope" in answers[0]["scope"].split(" ")
    for name in ("refresh_token", "session_key", "session_secret"):
        assert answers[0][name]
    shape = re.fullmatch(r"24\.[0-9a-f]{32}\.2592000\.(\d+)\.\d+-\d+", answers[0]["access_token"])
    assert shape
    assert pytest.approx(time.time() + 2592000, abs=120) == int(shape[1])


def test_refused_credentials(shared_caller: Caller) -> None:
    """Wrong credentials are HTTP 401 and say which of the two is wrong."""
    unknown = shared_caller.ask_token(client_id="nobody")
    wrong = shared_caller.ask_token(client_secret="wrong")
    assert (401, {"error": "invalid_client", "error_description": "unknown client id"}) == (
        unknown.status_code,
        unknown.json(),
    )
    assert (
        401,
        {"error": "invalid_client", "error_description": "Client authentication failed"},
    ) == (wrong.status_code, wrong.json())


def test_other_grants(shared_caller: Caller) -> None:
    """A grant type that is not the contract's is HTTP 400."""
    refused = shared_caller.ask_token(grant_type="password")
    assert (400, "unsupported_grant_type") == (refused.status_code, refused.json()["error"])


def test_a_request_that_is_too_long(shared_caller: Caller) -> None:
    """It is told as that: there is no image in it."""
    refused = shared_caller.ask_token(x="a" * 70_000)
    assert 400 == refused.status_code
    assert {
        "error": "invalid_request",
        "error_description": "the request is too long",
    } == refused.json()


@pytest.mark.parametrize("token", ["", "x", "24.zz.2592000.1.1-1", "24." + "a" * 32])
def test_malformed_token(shared_caller: Caller, token: str) -> None:
    """A token of another shape is error 100, without log_id."""
    assert {"error_code": 100, "error_msg": "Invalid parameter"} == shared_caller.answer(
        "search", token=token, data=_search()
    )


def test_missing_token(shared_caller: Caller) -> None:
    """A call without any token is error 100."""
    answer = requests.post(shared_caller.url + CALLS + "add", data={"brief": "x"}, timeout=30)
    assert (200, 100) == (answer.status_code, answer.json()["error_code"])


@pytest.mark.parametrize(
    "client_id",
    ["", "\0", "a\0b", "x" * 15_000, "é", "\ud83d\ude00", "a b", "' or 1=1 --", "\ufffd"],
)
def test_any_client_id_is_an_unknown_client(shared_caller: Caller, client_id: str) -> None:
    """Whatever is sent as client_id, a key that does not exist is HTTP 401, and nothing else."""
    client_id = client_id.encode("utf-16", "surrogatepass").decode("utf-16")
    refused = shared_caller.ask_token(client_id=client_id)
    assert (401, "unknown client id") == (
        refused.status_code,
        refused.json()["error_description"],
    )


@pytest.mark.parametrize("client_secret", ["", "\0", "x" * 15_000, "\ufffd"])
def test_any_wrong_secret_is_refused(shared_caller: Caller, client_secret: str) -> None:
    """Whatever is sent as client_secret, a wrong one is HTTP 401, and nothing else."""
    assert 401 == shared_caller.ask_token(client_secret=client_secret).status_code


def test_signed_call(shared_caller: Caller) -> None:
    """A call with a BCE signature instead of a token is error 14; beside a token it is ignored."""
    signed = {"Authorization": f"bce-auth-v1/{shared_caller.api_key}/2026-01-01T00:00:00Z/1800//x"}
    url = shared_caller.url + CALLS + "search"
    answer = requests.post(url, data=_search(), headers=signed, timeout=30)
    assert (200, {"error_code": 14, "error_msg": "IAM Certification failed"}) == (
        answer.status_code,
        answer.json(),
    )
    by_token = shared_caller.answer("search", data=_search(), headers=signed)
    assert 0 == code_of(by_token)


class _Down:
    """Key pairs of a database that does not answer."""

    def authenticate(self, _api_key: str, _secret_key: str) -> int:
        raise psycopg.OperationalError("host=secret")


class _Broken:
    """Key pairs with a defect."""

    def authenticate(self, _api_key: str, _secret_key: str) -> int:
        raise ValueError("secret")


@pytest.mark.parametrize("keys", [_Down(), _Broken()])
def test_a_passing_failure_is_no_refusal(keys: AppKeys) -> None:
    """What may be over in a moment is HTTP 500 with a text that is no JSON.

    The official SDKs take a JSON object for a refusal of their key pair and never ask again.
    """
    endpoint = TokenEndpoint(
        tokens=Tokens(secrets.token_bytes(32)),
        keys=keys,
        workers=ThreadPoolExecutor(1),
        access_log=AccessLog(Metrics()),
    )
    app = Starlette(routes=[Route("/token", endpoint.answer, methods=["GET", "POST"])])
    status, head, body = asyncio.run(_get(app, b"grant_type=client_credentials&client_id=a"))
    assert 500 == status
    assert head[b"content-type"].startswith(b"text/plain")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(body)
    assert b"secret" not in body


async def _get(app: Starlette, query: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask an application without a server; return status, headers and body."""
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/token",
        "raw_path": b"/token",
        "root_path": "",
        "query_string": query,
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), body


def test_forged_token(shared_caller: Caller) -> None:
    """Whatever is changed in a token, its signature no longer fits: error 110."""
    head, lifetime, expiry, tail = re.split(r"\.(2592000)\.(\d+)\.", shared_caller.token)
    number, app = tail.split("-")
    for forged in (
        f"{head}.{lifetime}.{int(expiry) + 1}.{tail}",
        f"{head}.{lifetime}.{expiry}.{number}-{int(app) + 1}",
        f"{head}.{lifetime}.{expiry}.{int(number) + 1}-{app}",
        f"24.{'0' * 32}.{lifetime}.{expiry}.{tail}",
        Tokens(secrets.token_bytes(32)).issue(int(app)),
    ):
        answer = shared_caller.answer("search", token=forged, data=_search())
        assert {
            "error_code": 110,
            "error_msg": "Access token invalid or no longer valid",
        } == answer


def test_expired_token(engine: Engine, shared_caller: Caller) -> None:
    """A genuine token past its 30 days is error 111."""
    tokens = Tokens((engine.data / "signing.key").read_bytes())
    app = int(shared_caller.token.rpartition("-")[2])
    old = tokens.issue(app, now=time.time() - 2592000 - 1)
    young = tokens.issue(app, now=time.time() - 2592000 + 60)
    assert {"error_code": 111, "error_msg": "Access token expired"} == shared_caller.answer(
        "search", token=old, data=_search()
    )
    assert 0 == code_of(shared_caller.answer("search", token=young, data=_search()))


def test_node_sdk_query(shared_caller: Caller) -> None:
    """The Node SDK's second question mark and unknown query keys do not matter."""
    url = f"{shared_caller.url}{CALLS}search?access_token={shared_caller.token}"
    for query in ("?aipSdk=node", "?aipSdk=node&aipVersion=2.0", "&aipSdk=python&x="):
        assert 0 == code_of(requests.post(url + query, data=_search(), timeout=30).json())


def _search() -> dict[str, str]:
    return {"image": image_field(jpeg(1))}
