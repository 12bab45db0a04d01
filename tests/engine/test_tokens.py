"""The token endpoint, and what becomes of a token that is wrong."""

from __future__ import annotations

import re
import secrets
import time

import pytest
import requests

from demo.processes import Engine
from productsearch_engine.api.auth import Tokens
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
