"""The vendor's own SDKs for Python, Node and Java, unchanged, on a good day and on a bad one."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo.processes import Engine
from tests.engine.copies import Template, copied, made_template
from tests.engine.databases import children, postmaster
from tests.engine.image_files import jpeg
from tests.engine.sdk.front import Front
from tests.engine.sdk.languages import LANGUAGES, Language, Runner
from tests.engine.sdk.steps import STEPS, Told
from tests.mesh.tools import need

pytestmark = pytest.mark.slow
IMAGE = base64.b64encode(jpeg(1)).decode()
RECOVERY_S = 60


@pytest.fixture(scope="module", params=LANGUAGES, ids=lambda language: language.name)
def language(request: pytest.FixtureRequest) -> Language:
    """A language whose runner is built."""
    chosen: Language = request.param
    for program in chosen.tools:
        need(program)
    chosen.make()
    return chosen


@pytest.fixture(scope="module")
def own_template() -> Iterator[Template]:
    """The data directory of engines that a test may hurt."""
    with made_template() as made:
        yield made


@pytest.fixture
def own_engine(own_template: Template) -> Iterator[Engine]:
    """An engine whose database a test may stop."""
    with copied(own_template) as engine:
        yield engine


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A host of images: the base of its addresses."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            self.send_response(200 if name.isdecimal() else 404)
            self.end_headers()
            if name.isdecimal():
                self.wfile.write(jpeg(int(name)))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_call(language: Language, open_engine: Engine, site: str, tmp_path: Path) -> None:
    """All calls and errors come to the same as in every other language."""
    keys = open_engine.create_library(f"sdk-{language.name}")
    told = Told(site=site)
    with Front(open_engine.url, tmp_path) as front, language.started(front, *keys) as runner:
        for number, step in enumerate(STEPS, 1):
            answer = runner.ask(**step.asked(told)).get("answer", {})
            assert step.code == int(answer.get("error_code", 0)), (number, step.call, answer)
            assert "log_id" in answer, (number, answer)
            if step.keep is not None:
                told.signs[step.keep] = answer["cont_sign"]
            assert step.check(answer, told), (number, step.call, answer)
    assert 33 == len(STEPS)


@contextmanager
def database_away(engine: Engine) -> Iterator[None]:
    """Let the database stand still, and each one that the engine starts in its place."""
    over = threading.Event()
    stopped: set[int] = set()

    def keep_away() -> None:
        while not over.wait(0.2):
            with suppress(OSError, IndexError, ValueError, psutil.Error):
                server = postmaster(engine)
                for process in (server, *children(server)):
                    os.kill(process, signal.SIGSTOP)
                    stopped.add(process)

    keeper = threading.Thread(target=keep_away)
    keeper.start()
    time.sleep(2.5)  # until the engine knows
    try:
        yield
    finally:
        over.set()
        keeper.join()
        for process in stopped:
            with suppress(ProcessLookupError):  # it was taken for wedged, and killed
                os.kill(process, signal.SIGCONT)


def test_outage_while_it_starts(
    language: Language, own_engine: Engine, own_template: Template, tmp_path: Path
) -> None:
    """An SDK that is started while the database is away works as soon as it is back."""
    with Front(own_engine.url, tmp_path) as front:
        with database_away(own_engine):
            started = language.started(front, *own_template.keys)
            runner = started.__enter__()
            for _ in range(2):
                assert not succeeded(runner)
        try:
            recovers(runner)
        finally:
            started.__exit__(None, None, None)


def test_outage_while_it_runs(
    language: Language, own_engine: Engine, own_template: Template, tmp_path: Path
) -> None:
    """An SDK that has a token gets code 2 while the database is away, and works when it is back."""
    with (
        Front(own_engine.url, tmp_path) as front,
        language.started(front, *own_template.keys) as runner,
    ):
        assert succeeded(runner)
        with database_away(own_engine):
            answer = runner.ask("productSearch", image=IMAGE).get("answer", {})
            assert 2 == int(answer.get("error_code", 0)), answer
        recovers(runner)


def succeeded(runner: Runner) -> bool:
    """Search, and return whether there is a result."""
    answer: Any = runner.ask("productSearch", image=IMAGE).get("answer")
    return isinstance(answer, dict) and "result" in answer


def recovers(runner: Runner) -> None:
    """Search until it works again."""
    ends = time.monotonic() + RECOVERY_S
    while not succeeded(runner):
        assert time.monotonic() < ends, "the SDK did not recover"
        time.sleep(0.5)
