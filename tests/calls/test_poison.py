"""What one caller sends, or a proxy answers for one call, is not held against the upstream."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from productsearch import v1
from productsearch_service.settings import Settings
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import Watched, add, image, late, outcome, search, until
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Fault, Received, error, search_answer

ANSWER = search_answer()
DOWN = "UPSTREAM_UNAVAILABLE"
CODES = (216630, 216634, 282000, 282112)
POLICY = "".join(
    f'[callers.{name}]\ntoken_sha256 = ["{hashlib.sha256(name.encode()).hexdigest()}"]\n'
    for name in ("poisoner", "shop", "jobs")
)


def by(name: str) -> Any:
    """Return the metadata of a call by ``name``."""
    return (("authorization", f"Bearer {name}"),)


def url(number: int) -> v1.SearchImagesRequest:
    """Return a search by a URL that the upstream trips over."""
    return v1.SearchImagesRequest(image=v1.ImageSource(url=f"http://a..b/{number}.jpg"))


@pytest.fixture
def facade(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Watched]:
    """Return a facade that knows three callers by their tokens."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY + '[[rules]]\ncallers = ["*"]\n')
    settings = Settings(
        listen="127.0.0.1:0",
        admin_listen="",
        metrics_listen="127.0.0.1:0",
        policy_file=policy,
        libraries={
            "default": {
                "base_url": upstream.url,
                "api_key": "k",
                "secret_key": "s",
                "quota_qps": 0,
                "breaker_open_s": 30,
                "breaker_open_max_s": 30,
            }
        },
        drain_delay_s=0,
        drain_grace_s=0,
    )
    server = Server(settings, with_admin=True)
    server.start()
    with v1.connect(f"127.0.0.1:{server.port}") as channel:
        watched = Watched(server, channel)
        until(lambda: watched.readyz() == 200)
        yield watched
    server.stop()


@pytest.mark.parametrize(
    ("code", "rounds"),
    [*((code, 6) for code in CODES), pytest.param(282000, 30, marks=pytest.mark.slow)],
)
def test_a_poisoners_inputs_are_its_own(
    facade: Watched, upstream: FakeUpstream, code: int, rounds: int
) -> None:
    """Nine of ten calls fail by their input: the tenth, of another caller, is answered."""

    def answer(request: Received) -> Any:
        return error(code) if b"url=" in request.body else ANSWER

    upstream.always("search", answer)
    told = set()
    for number in range(1, rounds + 1):
        poison = [
            facade.stub.SearchImages.future(url(10 * number + n), metadata=by("poisoner"))
            for n in range(9)
        ]
        call = facade.stub.SearchImages.future(search(number), metadata=by("shop"))
        assert "OK" == outcome(call)
        told |= {outcome(each) for each in poison}
        assert 200 == facade.readyz()
        time.sleep(0.1)
    assert {DOWN if code != 282112 else "IMAGE_URL_UNREACHABLE"} == told
    assert 0 == facade.metric("breaker_open")


def test_a_lone_poisoner_takes_nobodys_readiness(facade: Watched, upstream: FakeUpstream) -> None:
    """At night it is alone: its breaker opens, and the replica stays ready for whoever comes."""
    upstream.always("search", error(216630))
    number, end_s = 0, time.monotonic() + 8
    while facade.metric("breaker_open") == 0:
        assert time.monotonic() < end_s, "its own breaker never opened"
        number += 1
        outcome(facade.stub.SearchImages.future(url(number), metadata=by("poisoner")))
    for _ in range(4):  # readiness is looked at each half second
        time.sleep(0.3)
        assert 200 == facade.readyz()
    upstream.always("search", ANSWER)
    assert "OK" == outcome(facade.stub.SearchImages.future(search(1), metadata=by("shop")))


def test_poisoners_alone_take_nobodys_readiness(facade: Watched, upstream: FakeUpstream) -> None:
    """Several, and nobody else: their breakers open, and whoever comes is answered."""
    upstream.always("search", error(282000))
    number, end_s, kept_away = 0, time.monotonic() + 10, set[str]()
    while len(kept_away) < 2:
        assert time.monotonic() < end_s, "their own breakers never opened"
        for name in ("poisoner", "jobs"):
            number += 1
            call = facade.stub.SearchImages.future(url(number), metadata=by(name))
            if "this call was not sent" in (call.details() or ""):
                kept_away.add(name)
    for _ in range(4):  # readiness is looked at each half second
        time.sleep(0.3)
        assert 200 == facade.readyz()
    upstream.always("search", ANSWER)
    assert "OK" == outcome(facade.stub.SearchImages.future(search(1), metadata=by("shop")))


def test_the_same_answer_for_everyone_is_an_outage(facade: Watched, upstream: FakeUpstream) -> None:
    """282000 for each input of two callers opens the breaker within 5 s."""
    for name in ("shop", "jobs"):
        assert "OK" == outcome(facade.stub.SearchImages.future(search(1), metadata=by(name)))
    upstream.always("search", error(282000))
    began_s, number = time.monotonic(), 10
    while facade.metric("breaker_open") == 0:
        assert time.monotonic() - began_s < 6
        calls = []
        for name in ("shop", "jobs"):
            number += 1
            calls.append(facade.stub.SearchImages.future(search(number), metadata=by(name)))
        assert {DOWN} == {outcome(call) for call in calls}
    refused = facade.stub.SearchImages.future(search(5), metadata=by("shop"))
    assert DOWN == outcome(refused)
    assert "this call was not sent" in refused.details()
    assert (v1.retry_delay_of(refused) or 0) > 0
    upstream.always("search", ANSWER)
    assert "OK" == outcome(facade.stub.SearchImages.future(search(6), metadata=by("poisoner")))
    assert 0 == facade.metric("breaker_open")


def test_an_image_that_is_not_recognised_is_not_stored(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """216630 and 216634 say so of an add: its outcome is known."""
    facade = watched()
    for number, code in enumerate((216630, 216634)):
        upstream.always("add", error(code))
        assert DOWN == outcome(facade.stub.AddImage.future(add(number)))


def test_a_proxy_that_takes_no_large_request(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """413 is the image's size: not repeated, and nothing was stored."""
    facade = watched()
    refusal = Fault(status=413, body=b"<html>Request Entity Too Large</html>")
    upstream.always("add", refusal)
    upstream.always("update", refusal)
    call = facade.stub.AddImage.future(add(1))
    assert "IMAGE_SIZE_INVALID" == outcome(call)
    assert ["new_image.image"] == [*v1.field_violations_of(call)]
    ref = v1.ImageRef(image=image(1))
    update = facade.stub.UpdateImage.future(v1.UpdateImageRequest(image_ref=ref, brief="b"))
    assert "IMAGE_SIZE_INVALID" == outcome(update)
    assert 2 == len(upstream.calls)


def test_a_proxy_that_limits_calls(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """429 is waited for as error 18 is, slows the pacer, and is RATE_LIMITED in the end."""
    facade = watched(quota_qps=50, attempts_max=2)
    limited = Fault(status=429, body=b"<html>Too Many Requests</html>")
    upstream.then("add", limited)
    began_s = time.monotonic()
    assert "OK" == outcome(facade.stub.AddImage.future(add(1)))
    assert time.monotonic() - began_s >= 1
    assert 0 < facade.metric("pacer_rate") < 45
    upstream.always("search", limited)
    call = facade.stub.SearchImages.future(search(1))
    assert "RATE_LIMITED" == outcome(call)
    assert 1 <= (v1.retry_delay_of(call) or 0)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 408, 431, 499])
def test_a_request_that_a_proxy_refused_was_not_done(
    watched: WatchedFactory, upstream: FakeUpstream, status: int
) -> None:
    """No 4xx leaves the outcome of an add open."""
    facade = watched(attempts_max=1)
    upstream.always("add", Fault(status=status, body=b"<html>no</html>"))
    assert "UPSTREAM_PROTOCOL" == outcome(facade.stub.AddImage.future(add(1)))


def test_one_attempt_is_one(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """With attempts_max = 1 a kept connection that ends does not make it two."""
    facade = watched(attempts_max=1)
    assert "OK" == outcome(facade.stub.SearchImages.future(search(1)))
    upstream.always("search", Fault("close"))
    assert DOWN == outcome(facade.stub.SearchImages.future(search(2)))
    assert 2 == len(upstream.calls)


def test_a_failed_calls_retry_time_is_the_breakers(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """The call whose failure opened it is told when the next one goes out, not a fixed second."""
    facade = watched(attempts_max=1, breaker_failures=1, breaker_open_s=8, breaker_open_max_s=8)
    upstream.always("search", late(0.01, error(2)))
    call = facade.stub.SearchImages.future(search(1))
    assert DOWN == outcome(call)
    assert 6 < (v1.retry_delay_of(call) or 0) <= 8


def test_json_is_still_read_with_any_status(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """An error code says more than the status that it came with."""
    facade = watched()
    body = json.dumps(error(216680)).encode()
    upstream.always("delete", Fault(status=413, body=body))
    ref = v1.ImageRef(cont_sign="1,2")
    assert "IMAGE_NOT_FOUND" == outcome(
        facade.stub.DeleteImage.future(v1.DeleteImageRequest(image_ref=ref))
    )
