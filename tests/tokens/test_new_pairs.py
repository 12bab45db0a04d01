"""Key pairs that are replaced, and an issuer that wants none of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
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


async def test_requests_for_a_new_pairs_token_are_counted(
    upstream: FakeUpstream, credentials: Pair
) -> None:
    """Each with its outcome, as those for the pair in use are; a look that asks nothing is none."""
    counted: list[str] = []
    issuer = TokenIssuer(upstream.url, None, credentials, counted.append)
    source = TokenSource(issuer, count=counted.append)
    await source.get(Deadline.after(10))
    upstream.then("token", REJECTED)
    credentials.pair = KeyPair("new-key", "wrong-secret")
    for _ in range(3):
        assert await issuer.replaced() is None
    assert ["ok", "UPSTREAM_CREDENTIALS_REJECTED"] == counted
    credentials.pair = KeyPair("new-key", "new-secret")
    for _ in range(3):
        await issuer.replaced()
    assert ["ok", "UPSTREAM_CREDENTIALS_REJECTED", "ok"] == counted
    assert len(upstream.received) == len(counted)
    issuer.close()


async def test_a_new_pair_that_is_refused_is_told_once(
    upstream: FakeUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With library, folder and reason; once for each pair, and for files that are gone; and seen
    in the states until a pair is in use."""
    caplog.set_level(logging.INFO)

    def write(secret: str) -> None:
        (tmp_path / "api_key").write_text("the-api-key")
        (tmp_path / "secret_key").write_text(secret)

    def told() -> list[str]:
        return [each.message for each in caplog.records if each.levelname == "ERROR"]

    async def looks() -> None:
        for _ in range(3):
            await rotation._look()

    write("the-old-secret")
    issuer = TokenIssuer(upstream.url, None, FileCredentials(tmp_path))
    source = TokenSource(issuer, where="library tiny (http://up)")
    rotation = Rotation(issuer, source, 3600, "library tiny (http://up)", str(tmp_path))
    await source.get(Deadline.after(10))
    await looks()
    assert ([], False) == (told(), source.stats.new_pair_refused)
    upstream.always("token", REJECTED)
    for number, secret in enumerate(("wrong-secret-1", "wrong-secret-2"), start=1):
        write(secret)
        await rotation._look()
        assert number - 1 == len(told())  # it may be half of a pair that is being written
        await looks()
        assert (number, True) == (len(told()), source.stats.new_pair_refused)
        assert (
            f"library tiny (http://up): the key pair that is now in {tmp_path} is not" in told()[-1]
        )
        assert secret not in told()[-1]
    (tmp_path / "api_key").unlink()
    await looks()
    assert 3 == len(told())
    write("the-old-secret")
    await looks()
    assert (3, False) == (len(told()), source.stats.new_pair_refused)
    again = f"library tiny (http://up): the key pair in {tmp_path} is the one in use again"
    assert 1 == caplog.messages.count(again)
    issuer.close()


async def test_a_first_pair_that_is_refused_is_told_by_the_token(
    upstream: FakeUpstream, credentials: Pair, issuer: TokenIssuer
) -> None:
    """No older one stays in use, so the rotation has nothing to say of it."""
    upstream.always("token", REJECTED)
    with pytest.raises(UpstreamCredentialsRejected):
        await issuer()
    credentials.pair = KeyPair("other-key", "wrong-secret")
    await issuer.replaced()
    assert issuer.not_taken is None
