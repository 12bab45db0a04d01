"""A unary call whose message does not come takes nothing from the others."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch_service import limits
from tests.calls.silent import SERVICE, UNARY, Silence, admission_of, connected, policy_file
from tests.calls.silent import token_of as token
from tests.calls.watching import outcome, search, until
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Received, search_answer

HALF = limits.RECEIVING_MAX // 2
PATIENCE_S = 20


@pytest.fixture
def facade_of(server: ServerFactory, tmp_path: Path) -> ServerFactory:
    """Return a function that starts a facade with a policy."""

    def start(**settings: Any) -> Server:
        return server(policy_file=policy_file(tmp_path), **settings)

    return start


@pytest.fixture
def quiet(facade_of: ServerFactory) -> Iterator[tuple[Server, Silence]]:
    """Return a facade that waits a second for messages, and a connection to be silent on."""
    running = facade_of(receive_timeout_s=1)
    with connected(running) as channel, Silence(channel) as silence:
        yield running, silence


Quiet = tuple[Server, Silence]


def searched(server: Server, caller: str, count: int = 1) -> set[str]:
    """Return what searches of a caller come to."""
    with connected(server) as channel:
        stub = v1.ProductSearchStub(channel)
        return {
            outcome(
                stub.SearchImages.future(search(number), metadata=token(caller), timeout=PATIENCE_S)
            )
            for number in range(count)
        }


def held(server: Server) -> tuple[int, int, int]:
    """Return how many calls are received, wait for that, and are carried out."""
    admission = admission_of(server)
    return (admission.receiving.held[0], admission.receiving.waiting, admission.unary.in_flight[0])


def counted(calls: list[Any]) -> dict[str, int]:
    """Return what calls came to, once they have all ended."""
    return dict(Counter(outcome(call) for call in calls))


def test_a_stranger_is_refused_before_it_says_anything(quiet: Quiet) -> None:
    """Without a token each method's silent call is UNAUTHENTICATED while its stream is open."""
    running, silence = quiet
    calls = [call for method in UNARY for call in silence.unary(method, count=10)]
    assert {"CALLER_UNAUTHENTICATED": 50} == counted(calls)
    assert (0, 0, 0) == held(running)


def test_a_method_that_no_rule_allows_is_refused_before_it_says_anything(quiet: Quiet) -> None:
    """Of a caller that may search alone, every other silent call is PERMISSION_DENIED."""
    running, silence = quiet
    denied = [method for method in UNARY if method != "SearchImages"]
    calls = [call for method in denied for call in silence.unary(method, "reader", 10)]
    assert {"CALLER_FORBIDDEN": 40} == counted(calls)
    assert (0, 0, 0) == held(running)
    assert {"OK"} == searched(running, "reader")


def test_an_identified_callers_silence_leaves_places_to_others(facade_of: ServerFactory) -> None:
    """64 of one caller hold half of the places, 64 of another half of the rest."""
    running = facade_of(receive_timeout_s=PATIENCE_S)
    with connected(running) as channel, Silence(channel) as silence:
        silence.unary("SearchImages", "one", 64)
        until(lambda: held(running) == (HALF, 64 - HALF, 0))
        assert {"OK"} == searched(running, "two", 5)
        silence.unary("AddImage", "two", 64)
        places = HALF + ceil((limits.RECEIVING_MAX - HALF) / 2)
        until(lambda: held(running) == (places, 128 - places, 0))
        assert {"OK"} == searched(running, "three", 5)
    until(lambda: held(running) == (0, 0, 0))


def test_the_places_come_back(facade_of: ServerFactory) -> None:
    """All of 64 silent calls end within the time for one message, whether their turn came or not.

    Those whose turn came are told what was missing, the others that the replica was busy. The last
    call comes before the first one that waits is refused, also on a slow machine.
    """
    running = facade_of(receive_timeout_s=6)
    with connected(running) as channel, Silence(channel) as silence:
        calls = silence.unary("SearchImages", "one", 64)
        until(lambda: held(running) == (HALF, 64 - HALF, 0))
        assert {"FIELD_INVALID": HALF, "SERVER_OVERLOADED": 64 - HALF} == counted(calls)
        assert (0, 0, 0) == held(running)
        assert {"OK"} == searched(running, "one")


def test_silent_callers_hold_up_no_other_however_many_they_are(
    server: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twelve callers with silent calls each has a turn no longer than is sure to it."""
    monkeypatch.setattr(limits, "RECEIVE_SURE_S", 0.3)
    monkeypatch.setattr(limits, "RECEIVE_PATIENCE_S", 0.1)
    crowd = [f"crowd-{number}" for number in range(12)]
    running = server(policy_file=policy_file(tmp_path, *crowd), receive_timeout_s=60)
    with connected(running) as channel, Silence(channel) as silence:
        calls = [call for name in crowd for call in silence.unary("SearchImages", name, 8)]
        until(
            lambda: limits.RECEIVING_MAX == held(running)[0] and held(running)[1] > len(calls) / 2
        )
        assert {"OK"} == searched(running, "reader", 5)
        ended = counted([call for call in calls if call.done()])
        assert {"SERVER_OVERLOADED"} == ended.keys()


def test_a_turn_ends_early_for_another_caller_alone(
    facade_of: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller's own calls that wait end none of its messages, however slow those are."""
    monkeypatch.setattr(limits, "RECEIVE_SURE_S", 0.1)
    monkeypatch.setattr(limits, "RECEIVE_PATIENCE_S", 0.1)
    running = facade_of(receive_timeout_s=60)
    with connected(running) as channel, Silence(channel) as silence:
        calls = silence.unary("SearchImages", "one", 2 * HALF)
        until(lambda: held(running) == (HALF, HALF, 0))
        time.sleep(0.5)
        assert (HALF, HALF, 0) == held(running)
        assert {"OK"} == searched(running, "two", 2)
        assert not any(call.done() for call in calls)


def test_a_deadline_ends_the_wait_for_the_message(facade_of: ServerFactory) -> None:
    """A silent call with a deadline gives its place back then, and its waiting ones do too."""
    running = facade_of()
    with connected(running) as channel, Silence(channel) as silence:
        begin = channel.stream_unary(SERVICE + "SearchImages").future
        calls = [
            begin(silence._messages(()), metadata=token("one"), timeout=0.5) for _ in range(20)
        ]
        assert {"DEADLINE_TOO_SHORT", "bare DEADLINE_EXCEEDED"} >= counted(calls).keys()
        until(lambda: held(running) == (0, 0, 0))


@pytest.mark.parametrize("method", UNARY)
def test_a_call_that_ends_without_a_message_is_told(quiet: Quiet, method: str) -> None:
    """Half-closed at once: FIELD_INVALID, which says what is missing."""
    running, _ = quiet
    with connected(running) as channel:
        call = channel.stream_unary(SERVICE + method).future(iter(()), metadata=token("one"))
        assert "FIELD_INVALID" == outcome(call)
        assert "request: missing; send one message with the call" == call.details()


def test_a_message_that_is_none_is_told(quiet: Quiet) -> None:
    """Bytes that are no message of the method: FIELD_INVALID."""
    running, _ = quiet
    with connected(running) as channel:
        begin = channel.stream_unary(SERVICE + "SearchImages").future
        assert "FIELD_INVALID" == outcome(begin(iter([b"\xff"]), metadata=token("one")))


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_too_large_a_message_is_refused(quiet: Quiet, compression: grpc.Compression) -> None:
    """Over the largest message, as sent or unpacked: RESOURCE_EXHAUSTED, and no place is kept."""
    running, _ = quiet
    large = bytes(limits.RECEIVE_BYTES_MAX + 1)
    with connected(running) as channel:
        begin = channel.stream_unary(SERVICE + "SearchImages").future
        calls = [
            begin(iter([large]), metadata=token("one"), compression=compression) for _ in range(20)
        ]
        assert {"bare RESOURCE_EXHAUSTED": 20} == counted(calls)
    until(lambda: held(running) == (0, 0, 0))
    assert {"OK"} == searched(running, "one")


def test_a_cancelled_silent_call_gives_its_place_back(quiet: Quiet) -> None:
    """Cancelled while it is received or while it waits."""
    running, silence = quiet
    for _ in range(5):
        calls = silence.unary("SearchImages", "one", 24)
        until(lambda: held(running)[0] == HALF)
        for call in calls:
            call.cancel()
        until(lambda: held(running) == (0, 0, 0))
    assert {"OK"} == searched(running, "one")


def test_large_messages_are_received_a_few_at_a_time(
    facade_of: ServerFactory, upstream: FakeUpstream
) -> None:
    """32 messages of 21 MiB less one byte: never more received than there are places for one."""
    running = facade_of()
    most = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.002):
            most = max(most, held(running)[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    # A field that nobody knows: valid, and as large as a message may be.
    large = (
        b"\xfa\xff\x03" + varint(limits.RECEIVE_BYTES_MAX - 8) + bytes(limits.RECEIVE_BYTES_MAX - 8)
    )
    assert limits.RECEIVE_BYTES_MAX - 1 == len(large)
    with connected(running) as channel:
        begin = channel.stream_unary(SERVICE + "SearchImages").future
        calls = [begin(iter([large]), metadata=token("one")) for _ in range(8 * HALF)]
        came_to = counted(calls)
    over.set()
    watcher.join()
    assert "FIELD_INVALID" in came_to
    assert came_to.keys() <= {"FIELD_INVALID", "SERVER_OVERLOADED"}  # it may have all its places
    assert 1 <= most <= HALF


def varint(number: int) -> bytes:
    """Return a number as protobuf writes lengths."""
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_a_stop_does_not_wait_for_silent_calls(facade_of: ServerFactory) -> None:
    """Silent calls, with a turn or waiting, are told SERVER_DRAINING, well before the grace."""
    running = facade_of(drain_delay_s=0.1, drain_grace_s=60, receive_timeout_s=120)
    with connected(running) as channel, Silence(channel) as silence:
        calls = silence.unary("SearchImages", "one", 24)
        until(lambda: held(running) == (HALF, 24 - HALF, 0))
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        assert {"SERVER_DRAINING": 24} == counted(calls)
        stopping.join(PATIENCE_S)
        assert not stopping.is_alive()


def test_a_crowd_on_one_connection_is_told_why(
    facade_of: ServerFactory, upstream: FakeUpstream
) -> None:
    """Of 800 searches at once on one connection each is answered, or refused in our words.

    Three times, as gRPC counts calls for a while after their answers.
    """
    running = facade_of()

    def answered(_: Received) -> dict[str, Any]:
        time.sleep(0.02)
        return search_answer()

    upstream.always("search", answered)
    outcomes: Counter[str] = Counter()
    with connected(running) as channel:
        stub = v1.ProductSearchStub(channel)
        for _ in range(3):
            calls = [
                stub.SearchImages.future(search(number), metadata=token("one"), timeout=60)
                for number in range(800)
            ]
            outcomes.update(counted(calls))
    assert {"OK", "SERVER_OVERLOADED"} >= outcomes.keys()
    assert 2400 == outcomes.total()
