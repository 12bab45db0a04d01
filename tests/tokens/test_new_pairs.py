"""Key pairs that are replaced, and an issuer that wants none of them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.credentials import FileCredentials, KeyPair
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.transport import Transport
from tests.fakes.upstream import FakeUpstream, Fault, Received
from tests.tokens.states import LIFETIME_S


class Pair:
    """Credentials that are changed by setting them."""

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair

    def read(self) -> KeyPair:
        """Return the pair."""
        return self.pair


def _issuer(upstream: FakeUpstream) -> TokenIssuer:
    return TokenIssuer(Transport(upstream.url), Pair(KeyPair("the-api-key", "the-secret-key")))


@pytest.mark.parametrize("proven", [False, True], ids=["first pair", "new pair"])
def test_a_pair_that_is_rejected_is_not_tried_at_each_look(
    proven: bool, upstream: FakeUpstream
) -> None:
    """In an hour of looks, 15 s apart, at one wrong pair: at most a try each 5 min."""
    credentials = Pair(KeyPair("old-key", "old-secret"))
    issuer = TokenIssuer(Transport(upstream.url), credentials)
    if proven:
        issuer()
        credentials.pair = KeyPair("new-key", "wrong-secret")
    upstream.always("token", Fault(status=401, body=b'{"error": "invalid_client"}'))
    asked = len(upstream.received)
    if not proven:
        with pytest.raises(UpstreamCredentialsRejected):
            issuer()
    for _ in range(240):
        issuer.replaced()
    assert 1 <= len(upstream.received) - asked <= 12


@pytest.mark.parametrize("error", [[], {}], ids=str)
def test_an_error_word_that_is_no_word_is_no_token(error: object, upstream: FakeUpstream) -> None:
    """An answer whose ``error`` is a list or an object is refused as any other insane one."""
    upstream.then("token", {"error": error})
    with pytest.raises(UpstreamUnavailable):
        _issuer(upstream)()


@pytest.mark.parametrize("proven", [False, True], ids=["first pair", "new pair"])
def test_the_rotation_leaves_an_issuer_that_is_down_alone(
    proven: bool, upstream: FakeUpstream
) -> None:
    """In an hour of looks, 15 s apart: at most a token request each 30 s."""
    credentials = Pair(KeyPair("old-key", "old-secret"))
    issuer = TokenIssuer(Transport(upstream.url), credentials)
    if proven:
        issuer()
        credentials.pair = KeyPair("new-key", "new-secret")
    upstream.always("token", Fault(status=500, body=b"down"))
    asked = len(upstream.received)
    if not proven:
        with pytest.raises(UpstreamUnavailable):
            issuer()
    for _ in range(240):
        issuer.replaced()
    assert 1 <= len(upstream.received) - asked <= 120


def test_until_a_pair_was_tried_the_rotation_asks_for_nothing(upstream: FakeUpstream) -> None:
    """A look before or during the first token request is no second request."""
    issuer = _issuer(upstream)
    upstream.always("token", lambda _: [issuer.replaced()] and {"error": "invalid_client"})
    assert issuer.replaced() is None
    with pytest.raises(UpstreamCredentialsRejected):
        issuer()
    assert 1 == len(upstream.received)


def test_a_pair_that_could_not_be_read_at_first_is_found(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Files that come after the first caller asked are used at the next look."""
    issuer = TokenIssuer(Transport(upstream.url), FileCredentials(tmp_path))
    with pytest.raises(ServiceError):
        issuer()
    for name in ("api_key", "secret_key"):
        (tmp_path / name).write_text(f"the-{name}")
    assert issuer.replaced() is not None


def test_a_slow_flight_of_the_old_pair_does_not_bring_it_back(upstream: FakeUpstream) -> None:
    """A pair that was replaced while its own token request was under way stays replaced."""
    credentials = Pair(KeyPair("old-key", "old-secret"))
    issuer = TokenIssuer(Transport(upstream.url), credentials)
    issuer()
    arrived, answered = threading.Event(), threading.Event()

    def slow(request: Received) -> dict[str, object]:
        if b"old-key" in request.body:
            arrived.set()
            answered.wait(10)
        return {"access_token": f"24.of-{len(upstream.received)}", "expires_in": LIFETIME_S}

    upstream.always("token", slow)
    flight = threading.Thread(target=issuer)
    flight.start()
    arrived.wait(10)
    credentials.pair = KeyPair("new-key", "new-secret")
    assert issuer.replaced() is not None
    answered.set()
    flight.join(10)
    issuer()
    assert b"new-key" in upstream.received[-1].body
