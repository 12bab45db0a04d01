"""Answers that their caller does not take: counted as its own, and ended in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from productsearch import v1
from productsearch_service import limits
from tests.calls.silent import SERVICE, admission_of, calls_of_grpc, connected, policy_file
from tests.calls.silent import token_of as token
from tests.calls.test_silence import searched
from tests.calls.watching import search, until
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, search_answer

OWN = int(limits.RPCS_IN_FLIGHT_MAX * (1 - limits.OTHERS_SHARE))
MALFORMED = v1.BatchDeleteImagesRequest(cont_signs=["x"] * 1000)
SMALL = v1.BatchDeleteImagesRequest(cont_signs=["x"] * 50)
MOST = v1.BatchDeleteImagesRequest(cont_signs=["x"] * limits.BATCH_SIGNS_MAX)
NO_WINDOW = (("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0))
CHECK = "/grpc.health.v1.Health/Watch"


@pytest.fixture
def facade_of(server: ServerFactory, tmp_path: Path) -> ServerFactory:
    """Return a function that starts a facade with a policy."""

    def start(**settings: Any) -> Server:
        running = server(policy_file=policy_file(tmp_path, "four", "five"), **settings)
        assert {"OK"} == searched(running, "two")  # gRPC holds its very first call
        return running

    return start


@contextmanager
def unread(
    server: Server,
    request: Any,
    count: int,
    path: str = f"{SERVICE}BatchDeleteImages",
    caller: str = "one",
) -> Iterator[list[Any]]:
    """Begin calls of a caller whose answers are not taken: HTTP/2 has no room for them."""
    with connected(server, *NO_WINDOW) as channel:
        begin = channel.stream_stream(path)
        content = request.SerializeToString()
        calls = [begin(iter([content]), metadata=token(caller)) for _ in range(count)]
        yield calls  # held here: gRPC cancels calls that nobody holds


def in_flight(server: Server) -> int:
    """Return how many calls have a place, or an answer that was not taken."""
    admission = admission_of(server)
    return admission.unary.in_flight[0] + unread_of(server)


def unread_of(server: Server) -> int:
    """Return how many answers were not taken."""
    return admission_of(server).unread.in_flight[0]


@pytest.mark.parametrize("request_", [MALFORMED, SMALL], ids=["300 KB", "15 KB"])
def test_an_unread_answer_is_its_callers(request_: Any, facade_of: ServerFactory) -> None:
    """However small it is: what its caller does not take counts as under way, and no more than a
    caller's share is; others are served all along.
    """
    running = facade_of()
    with unread(running, request_, OWN + 16):
        until(lambda: unread_of(running) == OWN, seconds=60)
        assert {"OK"} == searched(running, "two", 5)
        time.sleep(0.3)
        assert OWN == unread_of(running)
        assert {"SERVER_OVERLOADED"} == searched(running, "one")
    until(lambda: in_flight(running) == 0 == calls_of_grpc(running))


def test_unread_answers_hold_no_place_of_others(facade_of: ServerFactory) -> None:
    """However many callers do not read: who comes next has all places, and is served."""
    running = facade_of()
    with ExitStack() as stack:
        for caller in ("one", "three", "four", "five"):
            stack.enter_context(unread(running, SMALL, limits.RPCS_IN_FLIGHT_MAX, caller=caller))
        until(lambda: unread_of(running) >= 2 * OWN, seconds=60)
        until(lambda: admission_of(running).unary.in_flight == (0, 0), seconds=60)
        assert {"OK"} == searched(running, "two", 20)
        assert {"SERVER_OVERLOADED"} == searched(running, "one")
    until(lambda: in_flight(running) == 0 == calls_of_grpc(running))
    assert not admission_of(running).unary._calls


@pytest.mark.parametrize(
    ("bound", "at_most"), [("UNREAD_MAX", 10), ("UNREAD_BYTES_MAX", 3_000_000)]
)
def test_unread_answers_are_bounded_together(
    bound: str, at_most: int, facade_of: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In calls and in bytes: over it the oldest of the caller that has the most ends."""
    monkeypatch.setattr(limits, bound, at_most)
    running = facade_of()
    answers = admission_of(running).unread
    kind = ("UNREAD_MAX", "UNREAD_BYTES_MAX").index(bound)
    with unread(running, MALFORMED, 2, caller="three"):
        until(lambda: answers.in_flight[0] == 2)
        few = {*answers._answers}
        with unread(running, MALFORMED, 30):
            until(lambda: answers.in_flight[0] >= 8 and calls_of_grpc(running) <= 11, seconds=60)
            assert answers.in_flight[kind] <= at_most
            assert few <= {*answers._answers}
            assert {"OK"} == searched(running, "two", 5)
    until(lambda: in_flight(running) == 0 == calls_of_grpc(running))


def test_an_unread_answer_ends_in_time(facade_of: ServerFactory) -> None:
    """Within the time for one message its place is back and gRPC has nothing of it any more."""
    running = facade_of(receive_timeout_s=2)
    with unread(running, MALFORMED, 3) as calls:
        until(lambda: in_flight(running) == 3)
        until(lambda: in_flight(running) == 0 == calls_of_grpc(running))
        assert {"OK"} == searched(running, "one")  # and its last one until the next
        assert {grpc.StatusCode.CANCELLED} == {_code(call) for call in calls}


def _code(call: Any) -> grpc.StatusCode:
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_an_answer_that_is_taken_late_arrives(
    facade_of: ServerFactory, upstream: FakeUpstream
) -> None:
    """Slowly, but within the time: whole, with its status, and the place is back."""
    upstream.always(
        "search", search_answer(*[(f"1,{number}", 0.5, "b" * 256) for number in range(300)])
    )
    running = facade_of()
    with unread(running, search(1), 1, f"{SERVICE}SearchImages") as (call,):
        until(lambda: in_flight(running) == 1)
        time.sleep(0.5)
        (content,) = [*call]
        assert 300 == len(v1.SearchImagesResponse.FromString(content).results)
        assert grpc.StatusCode.OK is call.code()
        until(lambda: in_flight(running) == 0)


def test_a_deadline_ends_an_unread_answer(facade_of: ServerFactory) -> None:
    """Before the time for one message is over."""
    running = facade_of(receive_timeout_s=60)
    with connected(running, *NO_WINDOW) as channel:
        begin = channel.stream_stream(f"{SERVICE}BatchDeleteImages")
        call = begin(iter([MALFORMED.SerializeToString()]), metadata=token("one"), timeout=3)
        until(lambda: in_flight(running) == 1)
        until(lambda: in_flight(running) == 0)
        call.cancel()


def test_a_stop_does_not_wait_for_unread_answers(facade_of: ServerFactory) -> None:
    """The grace is not used up: they end in their own time."""
    running = facade_of(receive_timeout_s=2, drain_delay_s=0, drain_grace_s=60)
    with unread(running, MALFORMED, 3):
        until(lambda: in_flight(running) == 3)
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        stopping.join(30)
        assert not stopping.is_alive()


def test_unread_health_ends(facade_of: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took the place of an older call leaves nothing of that behind, unread or not."""
    monkeypatch.setattr(limits, "BYSTANDER_TIMEOUT_S", 0.5)
    running = facade_of()
    bystanders = admission_of(running).bystanders
    bystanders._calls_max = 4
    with unread(running, health_pb2.HealthCheckRequest(), 20, CHECK):
        until(lambda: bystanders.in_flight == 4 == calls_of_grpc(running))
    until(lambda: calls_of_grpc(running) == 0)


def test_malformed_signatures_are_told_apart(stub: v1.ProductSearchStub) -> None:
    """Each of 10,000 has its own error with its own field, however the answer is made."""
    response = stub.BatchDeleteImages(MOST)
    fields = [[*v1.field_violations_of(result.error)] for result in response.results]
    assert [[f"cont_signs[{index}]"] for index in range(limits.BATCH_SIGNS_MAX)] == fields
    assert limits.BATCH_SIGNS_MAX == response.failed_count
