"""The service as a process: start, refusals to start, stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from demo.facade import Facade
from productsearch import v1
from tests.fakes.upstream import FakeUpstream, Fault
from tests.lifecycle.asking import until_ready
from tests.pictures import jpeg

SEARCH = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0.5", "PRODUCTSEARCH_DRAIN_GRACE_S": "5"}


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


def test_a_stop_finishes_what_is_under_way(process: Facade, upstream: FakeUpstream) -> None:
    """After SIGTERM: not serving, calls go on for the drain delay, the slow one ends well."""
    until_ready(process)
    slow = Fault(seconds=1.5, body=b'{"log_id": 7, "result": [], "has_more": false}')
    upstream.then("search", slow)
    with v1.connect(process.url) as channel:
        stub, health = v1.ProductSearchStub(channel), health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=20)
        assert SERVING == next(watch).status
        under_way = stub.SearchImages.future(SEARCH)
        while not upstream.calls:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        assert NOT_SERVING == next(watch).status
        other = v1.SearchImagesRequest(image=SEARCH.image, page_size=5)
        assert 1 == len(stub.SearchImages(other).results)
        assert 7 == under_way.result().log_id
    assert 0 == process.wait()
    assert "stopped" in process.log()


def test_a_second_signal_hurries(upstream: FakeUpstream, tmp_path: Path) -> None:
    """SIGTERM twice: delay and grace are cut short, the exit code is still 0."""
    upstream.always("search", Fault(seconds=20, body=b"{}"))
    patient = {"PRODUCTSEARCH_DRAIN_DELAY_S": "300", "PRODUCTSEARCH_DRAIN_GRACE_S": "300"}
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=patient) as process:
        with v1.connect(process.url) as channel:
            call = v1.ProductSearchStub(channel).SearchImages.future(SEARCH)
            while not upstream.calls:
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGTERM)
            while "stopping" not in process.log():
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGTERM)
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
        ({}, "libraries: "),
        ({"PRODUCTSEARCH_SETTINGS": "/no/such/file"}, "no such file"),
        (
            PAIR | {"PRODUCTSEARCH_LISTEN": "0.0.0.0:0"},
            "listen is open to the network",
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
    """A taken port is a clear message, not a traceback."""
    address = upstream.url.removeprefix("http://")
    done = _start(PAIR | {"PRODUCTSEARCH_LISTEN": address})
    assert (2, f"listen: {address} is taken") == (done.returncode, done.stderr.splitlines()[-1])


def test_the_environment_wins_over_the_file(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A library's upstream from a variable is used instead of the file's."""
    over = QUICK | {"PRODUCTSEARCH_LIBRARIES__DEFAULT__BASE_URL": upstream.url}
    wrong_url = "http://127.0.0.1:9"
    with (
        Facade(tmp_path, wrong_url, {"default": ("k", "s")}, environment=over) as process,
        v1.connect(process.url) as channel,
    ):
        assert 1 == len(v1.ProductSearchStub(channel).SearchImages(SEARCH).results)


def test_threads_do_not_pile_up(upstream: FakeUpstream, stub: v1.ProductSearchStub) -> None:
    """A hundred calls leave no more threads than the pools hold."""
    for _ in range(3):
        stub.SearchImages(SEARCH)
    before = threading.active_count()
    for _ in range(100):
        stub.SearchImages(SEARCH)
    assert threading.active_count() <= before + 60


def test_a_signal_that_another_thread_takes_stops_too(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The system may hand SIGTERM to any thread: the main one, asleep, must notice all the same."""
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=QUICK) as process:
        others = [int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir()]
        others.remove(process.pid)
        os.kill(max(others), signal.SIGTERM)  # to the process, that thread first
        assert 0 == process.wait(20)
