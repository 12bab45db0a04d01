"""The service as a process: start, refusals to start, stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from demo.facade import Facade
from productsearch import v1
from productsearch_service import limits
from productsearch_service.settings import Settings
from tests.fakes.upstream import FakeUpstream, Fault, Received, search_answer
from tests.lifecycle.asking import until, until_ready
from tests.pictures import jpeg

SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0.5", "PRODUCTSEARCH_DRAIN_GRACE_S": "5"}
AT_ONCE = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "5"}


@pytest.fixture
def process(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Facade]:
    """Return a running service in front of the fake upstream."""
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=QUICK) as running:
        yield running


def _health(address: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "productsearch_service", "health", address],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip()


def test_the_health_command_tells_by_its_exit_code(process: Facade) -> None:
    """0 for a service that serves, 1 for one that cannot be reached."""
    until_ready(process)
    for port in (process.admin, process.url):
        assert (0, "SERVING") == _health(port)
    assert (1, "UNREACHABLE") == _health("127.0.0.1:9")


def _new_image(content: bytes) -> v1.NewImage:
    return v1.NewImage(image=v1.ImageSource(content=content), brief="b")


def _bulk(stub: v1.ProductSearchStub) -> Any:
    item = v1.BulkAddImagesRequest.Item(key="k", new_image=_new_image(jpeg(2)))
    return stub.BulkAddImages(iter([v1.BulkAddImagesRequest(item=item)]), timeout=30)


SIGN = v1.ImageRef(cont_sign="1,2")
CALLS: dict[str, tuple[str, Callable[[v1.ProductSearchStub], Any], Callable[[Any], object]]] = {
    "AddImage": (
        "add",
        lambda stub: stub.AddImage.future(v1.AddImageRequest(new_image=_new_image(jpeg(1)))),
        lambda call: call.result().cont_sign,
    ),
    "SearchImages": (
        "search",
        lambda stub: stub.SearchImages.future(SEARCH),
        lambda call: len(call.result().results),
    ),
    "UpdateImage": (
        "update",
        lambda stub: stub.UpdateImage.future(v1.UpdateImageRequest(image_ref=SIGN, brief="c")),
        lambda call: call.result().log_id,
    ),
    "DeleteImage": (
        "delete",
        lambda stub: stub.DeleteImage.future(v1.DeleteImageRequest(image_ref=SIGN)),
        lambda call: call.result().log_id,
    ),
    "BatchDeleteImages": (
        "delete",
        lambda stub: stub.BatchDeleteImages.future(
            v1.BatchDeleteImagesRequest(cont_signs=["1,2", "3,4"])
        ),
        lambda call: len(call.result().results),
    ),
    "BulkAddImages": (
        "add",
        _bulk,
        lambda call: next(answer.result.added.cont_sign for answer in call),
    ),
}
"""RPC: the upstream's method, how it is begun, and what its answer holds."""


@pytest.mark.parametrize("delay_s", ["0", "0.5"], ids=["no drain delay", "drain delay"])
def test_calls_under_way_at_a_stop_are_answered(
    upstream: FakeUpstream, tmp_path: Path, delay_s: str
) -> None:
    """One call of each RPC waits for the upstream at the SIGTERM; each is answered in the grace."""
    answered = threading.Event()

    def slow(request: Received) -> object:
        answered.wait(30)
        good = {"log_id": 7, "cont_sign": "1,2", "result": [], "has_more": False}
        if request.method == "search":
            return good | {"result": [{"cont_sign": "1,2", "score": 0.9, "brief": "b"}]}
        return good

    for method in ("add", "search", "update", "delete"):
        upstream.always(method, slow)
    patient = {"PRODUCTSEARCH_DRAIN_DELAY_S": delay_s, "PRODUCTSEARCH_DRAIN_GRACE_S": "60"}
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=patient) as process:
        with v1.connect(process.url) as channel:
            stub = v1.ProductSearchStub(channel)
            begun = {name: begin(stub) for name, (_, begin, _) in CALLS.items()}
            until(lambda: len(upstream.calls) == len(CALLS), "all are at the upstream")
            assert sorted(method for method, _, _ in CALLS.values()) == sorted(
                call.method for call in upstream.calls
            )
            process.send_signal()
            until(lambda: _is_closed(process.url), "takes no connections any more")
            answered.set()
            told = {name: read(begun[name]) for name, (_, _, read) in CALLS.items()}
        assert 0 == process.wait()
    assert {
        "AddImage": "1,2",
        "SearchImages": 1,
        "UpdateImage": 7,
        "DeleteImage": 7,
        "BatchDeleteImages": 2,
        "BulkAddImages": "1,2",
    } == told


def _is_closed(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_goes_on_for_the_drain_delay(process: Facade, upstream: FakeUpstream) -> None:
    """After SIGTERM: not serving, calls go on for the drain delay, the slow one ends well."""
    until_ready(process)
    slow = Fault(seconds=1.5, body=b'{"log_id": 7, "result": [], "has_more": false}')
    upstream.then("search", slow)
    with v1.connect(process.url) as channel:
        stub, health = v1.ProductSearchStub(channel), health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=20)
        assert SERVING == next(watch).status
        under_way = stub.SearchImages.future(SEARCH)
        until(lambda: upstream.calls, "at the upstream")
        process.send_signal()
        assert NOT_SERVING == next(watch).status
        other = v1.SearchImagesRequest(image=SEARCH.image, page_size=5)
        assert 1 == len(stub.SearchImages(other).results)
        assert 7 == under_way.result().log_id
    assert 0 == process.wait()
    assert "stopped" in process.log()


def test_a_call_that_outlasts_the_grace_does_not_hold_up_the_stop(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """When the grace is over the call is ended, and the exit code is 0 all the same."""
    upstream.always("search", Fault(seconds=60, body=b"{}"))
    with Facade(
        tmp_path,
        upstream.url,
        {"default": ("k", "s")},
        environment={"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "0.5"},
    ) as process:
        with v1.connect(process.url) as channel:
            call = v1.ProductSearchStub(channel).SearchImages.future(SEARCH)
            until(lambda: upstream.calls, "at the upstream")
            process.send_signal()
            assert grpc.StatusCode.OK != call.code()
        assert 0 == process.wait(10)
        assert "stopped" in process.log()


@pytest.mark.parametrize("delay_s", ["300", "0"], ids=["in the delay", "in the grace"])
def test_a_second_signal_hurries(upstream: FakeUpstream, tmp_path: Path, delay_s: str) -> None:
    """SIGTERM twice: delay and grace are cut short, the exit code is still 0."""
    upstream.always("search", Fault(seconds=20, body=b"{}"))
    patient = {"PRODUCTSEARCH_DRAIN_DELAY_S": delay_s, "PRODUCTSEARCH_DRAIN_GRACE_S": "300"}
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=patient) as process:
        with v1.connect(process.url) as channel:
            call = v1.ProductSearchStub(channel).SearchImages.future(SEARCH)
            until(lambda: upstream.calls, "at the upstream")
            process.send_signal()
            until(lambda: "stopping" in process.log(), "stopping")
            if delay_s == "0":
                until(lambda: _is_closed(process.url), "in the grace")
            process.send_signal()
            assert grpc.StatusCode.OK != call.code()
        assert 0 == process.wait(10)


def _start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "productsearch_service"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_all_wrong_settings_are_told_at_once(tmp_path: Path) -> None:
    """One line for each wrong setting, exit code 2, and no secret among them."""
    settings = tmp_path / "settings.toml"
    settings.write_text(
        """
        listen = "0.0.0.0:50051"
        default_library = "shoes"
        replicas = 0
        colour = "red"
        [libraries.plain]
        base_url = "http://upstream.example"
        api_key = "AKIA-the-api-key"
        secret_key = "the-secret-key"
        [libraries.keyless]
        quota_qps = -1
        [libraries.both]
        credentials_dir = "/nowhere/at/all"
        """
    )
    done = _start({"PRODUCTSEARCH_SETTINGS": str(settings), "PRODUCTSEARCH_REPLICSA": "3"})
    assert (2, "") == (done.returncode, done.stdout)
    for wrong in (
        "replicas: ",
        "colour: ",
        "libraries.plain.base_url: must be https",
        "libraries.keyless.quota_qps: ",
        "libraries.both.credentials_dir: ",
        "PRODUCTSEARCH_REPLICSA: no such setting",
    ):
        assert wrong in done.stderr
    assert "the-api-key" not in done.stderr
    assert "the-secret-key" not in done.stderr
    assert "Traceback" not in done.stderr


PAIR = {
    "PRODUCTSEARCH_LIBRARIES__DEFAULT__API_KEY": "k",
    "PRODUCTSEARCH_LIBRARIES__DEFAULT__SECRET_KEY": "s",
}


@pytest.mark.parametrize(
    ("environment", "wrong"),
    [
        (
            {},
            "libraries: is missing; no settings file was named (PRODUCTSEARCH_SETTINGS is not set)",
        ),
        ({"PRODUCTSEARCH_SETTINGS": "/no/such/file"}, "no such file"),
        (
            PAIR | {"PRODUCTSEARCH_LISTEN": "0.0.0.0:0"},
            "listen: is open to the network",
        ),
        (PAIR | {"PRODUCTSEARCH_LISTEN": "here"}, "listen: must be host:port"),
        (PAIR | {"PRODUCTSEARCH_DEFAULT_LIBRARY": "shoes"}, "must be one of libraries"),
        (PAIR | {"PRODUCTSEARCH_LIBRARIES__DEFAULT__BASE_URL": "ftp://x"}, "must be https"),
        (
            {"PRODUCTSEARCH_LIBRARIES__DEFAULT__API_KEY": "k"},
            "set credentials_dir, or both api_key and secret_key",
        ),
    ],
    ids=["nothing", "no file", "open", "listen", "default", "scheme", "half a pair"],
)
def test_a_wrong_setting_stops_the_start(environment: dict[str, str], wrong: str) -> None:
    """The message says which setting and what would be right; the exit code is 2."""
    done = _start(environment)
    assert (2, True) == (done.returncode, wrong in done.stderr), done.stderr


def test_a_port_that_is_taken_stops_the_start(upstream: FakeUpstream) -> None:
    """One clear message with the next step; gRPC's own line about it does not come before."""
    address = upstream.url.removeprefix("http://")
    no_others = {"PRODUCTSEARCH_ADMIN_LISTEN": "", "PRODUCTSEARCH_METRICS_LISTEN": ""}
    done = _start(PAIR | no_others | {"PRODUCTSEARCH_LISTEN": address})
    told = "end the program that listens there, or give another address"
    assert [
        "productsearch-service cannot start:",
        f"listen: {address} is taken; {told}",
    ] == done.stderr.splitlines()
    assert 2 == done.returncode


def test_the_environment_wins_over_the_file(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A library's upstream from a variable is used instead of the file's."""
    over = AT_ONCE | {"PRODUCTSEARCH_LIBRARIES__DEFAULT__BASE_URL": upstream.url}
    wrong_url = "http://127.0.0.1:9"
    with (
        Facade(tmp_path, wrong_url, {"default": ("k", "s")}, environment=over) as process,
        v1.connect(process.url) as channel,
    ):
        assert 1 == len(v1.ProductSearchStub(channel).SearchImages(SEARCH).results)


def test_calls_take_no_threads(process: Facade, upstream: FakeUpstream) -> None:
    """As many calls at once as a caller may have wait for the upstream on one event loop."""
    answered = threading.Event()

    def slow(_: Received) -> object:
        answered.wait(30)
        return search_answer()

    with v1.connect(process.url) as channel:
        stub = v1.ProductSearchStub(channel)
        stub.SearchImages(SEARCH)
        before = _threads(process)
        upstream.always("search", slow)
        calls = [
            stub.SearchImages.future(
                v1.SearchImagesRequest(image=SEARCH.image, page_size=number + 1)
            )
            for number in range(int(limits.RPCS_IN_FLIGHT_MAX * (1 - limits.OTHERS_SHARE)))
        ]
        until(lambda: len(upstream.calls) == 1 + len(calls), "all are at the upstream")
        under_way = _threads(process)
        answered.set()
        assert [7] * len(calls) == [call.result().log_id for call in calls]
    assert under_way <= before


def _threads(process: Facade) -> int:
    """Return how many threads a service has, without gRPC's own, which come and go."""
    names = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/comm")]
    return len(names) - names.count("event_engine\n")


def test_a_signal_that_another_thread_takes_stops_too(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The system may hand SIGTERM to any thread: the main one, asleep, must notice all the same."""
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=AT_ONCE) as process:
        others = [int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir()]
        others.remove(process.pid)
        os.kill(max(others), signal.SIGTERM)  # to the process, that thread first
        assert 0 == process.wait(20)


def test_settings_without_an_effect_are_read_and_told(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Settings of the last release that do nothing now do not stop the start; the log tells."""
    old = AT_ONCE | {
        "PRODUCTSEARCH_ONE_CORE": "true",
        "PRODUCTSEARCH_LIBRARIES__DEFAULT__SEARCH_CACHE_ENTRIES": "1024",
    }
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=old) as process:
        until_ready(process)
        lines = [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
    assert [
        "search_cache_entries has no effect any more; set search_cache_bytes",
        "one_core has no effect any more; leave it out",
    ] == [line["message"] for line in lines if line["level"] == "WARNING"]


@pytest.mark.parametrize("one_core", [True, False, None])
@pytest.mark.parametrize("entries", [1, 1024, None])
def test_a_setting_without_an_effect_is_told_only_if_it_is_set(
    one_core: bool | None, entries: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Any value that the last release took is taken, with a warning each; unset, none."""
    library = {"api_key": "k", "secret_key": "s"}
    library |= {} if entries is None else {"search_cache_entries": entries}
    one = {} if one_core is None else {"one_core": one_core}
    Settings(libraries={"default": library}, **one)
    expected = (["search_cache_entries"] if entries else []) + (
        ["one_core"] if one_core is not None else []
    )
    assert expected == [record.getMessage().split()[0] for record in caplog.records]


def test_a_storm_of_sighup_ends_nothing(process: Facade) -> None:
    """Who reloads a daemon sends it; calls go on."""
    until_ready(process)
    with v1.connect(process.url) as channel:
        stub = v1.ProductSearchStub(channel)
        for number in range(20):
            for _ in range(10):
                os.kill(process.pid, signal.SIGHUP)
            image = v1.ImageSource(content=jpeg(number))
            stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=20)
