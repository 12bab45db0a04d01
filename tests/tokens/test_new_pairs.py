"""Key pairs that are replaced, and an issuer that wants none of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from productsearch_service.call_context import Deadline
from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.auth.credentials import FileCredentials, KeyPair
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.rotation import Rotation
from productsearch_service.upstream.auth.token import TokenSource
from tests.fakes.upstream import FakeUpstream, Fault, Received
from tests.tokens.states import LIFETIME_S

pytestmark = pytest.mark.asyncio

REJECTED = Fault(status=401, body=b'{"error": "invalid_client"}')


class Pair:
    """Credentials that are changed by setting them."""

    def __init__(self) -> None:
        self.pair = KeyPair("old-key", "old-secret")

    def read(self) -> KeyPair:
        """Return the pair."""
        return self.pair


class SlowAnswers:
    """Answers to token requests that come when told; ``arrived`` once the first one is there."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.answered = threading.Event()
        self._loop = asyncio.get_running_loop()

    def wait(self) -> None:
        """Wait to be told, in a thread of the fake upstream."""
        self._loop.call_soon_threadsafe(self.arrived.set)
        self.answered.wait(10)


@pytest.fixture
def credentials() -> Pair:
    """Return credentials with the old pair."""
    return Pair()


@pytest_asyncio.fixture
async def issuer(upstream: FakeUpstream, credentials: Pair) -> AsyncIterator[TokenIssuer]:
    """Return an issuer with these credentials."""
    made = TokenIssuer(upstream.url, None, credentials)
    yield made
    made.close()


@pytest.mark.parametrize("proven", [False, True], ids=["first pair", "new pair"])
async def test_a_pair_that_is_rejected_is_not_tried_at_each_look(
    proven: bool, upstream: FakeUpstream, credentials: Pair, issuer: TokenIssuer
) -> None:
    """In an hour of looks, 15 s apart, at one wrong pair: at most a try each 5 min."""
    if proven:
        await issuer()
        credentials.pair = KeyPair("new-key", "wrong-secret")
    upstream.always("token", REJECTED)
    asked = len(upstream.received)
    if not proven:
        with pytest.raises(UpstreamCredentialsRejected):
            await issuer()
    for _ in range(240):
        await issuer.replaced()
    assert 1 <= len(upstream.received) - asked <= 12


@pytest.mark.parametrize("error", [[], {}], ids=str)
async def test_an_error_word_that_is_no_word_is_no_token(
    error: object, upstream: FakeUpstream, issuer: TokenIssuer
) -> None:
    """An answer whose ``error`` is a list or an object is refused as any other insane one."""
    upstream.then("token", {"error": error})
    with pytest.raises(UpstreamUnavailable):
        await issuer()


@pytest.mark.parametrize("proven", [False, True], ids=["first pair", "new pair"])
async def test_the_rotation_leaves_an_issuer_that_is_down_alone(
    proven: bool, upstream: FakeUpstream, credentials: Pair, issuer: TokenIssuer
) -> None:
    """In an hour of looks, 15 s apart: at most a token request each 30 s."""
    if proven:
        await issuer()
        credentials.pair = KeyPair("new-key", "new-secret")
    upstream.always("token", Fault(status=500, body=b"down"))
    asked = len(upstream.received)
    if not proven:
        with pytest.raises(UpstreamUnavailable):
            await issuer()
    for _ in range(240):
        await issuer.replaced()
    assert 1 <= len(upstream.received) - asked <= 120


async def test_until_a_pair_was_tried_the_rotation_asks_for_nothing(
    upstream: FakeUpstream, issuer: TokenIssuer
) -> None:
    """A look before or during the first token request is no second request."""
    slow = SlowAnswers()

    def answer(_: Received) -> Fault:
        slow.wait()
        return REJECTED

    upstream.always("token", answer)
    assert await issuer.replaced() is None
    flight = asyncio.create_task(issuer())
    await slow.arrived.wait()
    assert await issuer.replaced() is None
    slow.answered.set()
    with pytest.raises(UpstreamCredentialsRejected):
        await flight
    assert 1 == len(upstream.received)


async def test_a_pair_that_could_not_be_read_at_first_is_found(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Files that come after the first caller asked are used at the next look."""
    issuer = TokenIssuer(upstream.url, None, FileCredentials(tmp_path))
    with pytest.raises(ServiceError):
        await issuer()
    for name in ("api_key", "secret_key"):
        (tmp_path / name).write_text(f"the-{name}")
    assert await issuer.replaced() is not None
    issuer.close()


async def test_a_slow_flight_of_the_old_pair_does_not_bring_it_back(
    upstream: FakeUpstream, credentials: Pair, issuer: TokenIssuer
) -> None:
    """A pair that was replaced while its own token request was under way stays replaced."""
    await issuer()
    slow = SlowAnswers()

    def answer(request: Received) -> dict[str, object]:
        if b"old-key" in request.body:
            slow.wait()
        return {"access_token": f"24.of-{len(upstream.received)}", "expires_in": LIFETIME_S}

    upstream.always("token", answer)
    flight = asyncio.create_task(issuer())
    await slow.arrived.wait()
    credentials.pair = KeyPair("new-key", "new-secret")
    assert await issuer.replaced() is not None
    slow.answered.set()
    await flight
    await issuer()
    assert b"new-key" in upstream.received[-1].body


async def test_a_new_pair_is_brought_into_use_by_the_rotation(
    upstream: FakeUpstream, credentials: Pair, issuer: TokenIssuer
) -> None:
    """Empty credentials and a rejected pair change nothing; a good pair's token is adopted."""
    source = TokenSource(issuer)
    rotation = Rotation(issuer, source, poll_s=0.005)
    rotation.start()
    old = await source.get(Deadline.after(10))
    upstream.then("token", REJECTED)
    credentials.pair = KeyPair("new-key", "wrong-secret")
    while len(upstream.received) < 2:
        await asyncio.sleep(0.005)
    assert old == await source.get(Deadline.after(10))
    credentials.pair = KeyPair("new-key", "new-secret")
    while old == (new := await source.get(Deadline.after(10))):
        await asyncio.sleep(0.005)
    await rotation.stop()
    assert old.generation + 1 == new.generation
    assert b"new-secret" in upstream.received[-1].body
    credentials.pair = KeyPair("newest-key", "newest-secret")
    await asyncio.sleep(0.05)
    assert 3 == len(upstream.received)


async def test_a_new_pair_that_is_refused_has_one_line(
    upstream: FakeUpstream,
    issuer: TokenIssuer,
    credentials: Pair,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the library, and that the old pair stays; the right pair has its own line then."""
    tokens = TokenSource(issuer)
    await tokens.get(Deadline.after(10))
    rotation = Rotation(issuer, tokens, 0.01, "library x (URL)")
    caplog.set_level(logging.INFO)
    rotation.start()
    upstream.always("token", REJECTED)
    credentials.pair = KeyPair("new-key", "a-typo")
    await _until(lambda: caplog.messages)
    await asyncio.sleep(0.2)
    told = "library x (URL): the key pair was changed and is not used, the old one is: "
    assert [told] == [message[: len(told)] for message in caplog.messages]
    upstream.always("token", {"access_token": "another-token", "expires_in": LIFETIME_S})
    credentials.pair = KeyPair("new-key", "new-secret")
    await _until(lambda: "library x (URL): a new key pair is in use" in caplog.messages)
    assert 2 == len(caplog.messages)
    await rotation.stop()


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)
