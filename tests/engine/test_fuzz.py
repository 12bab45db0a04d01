"""Mutated requests to a real engine: documented codes only, and nothing untoward in its log."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from demo.processes import Engine
from productsearch_engine.api import codes
from tests.engine.calling import Caller, code_of
from tests.engine.image_files import jpeg
from tests.engine.wire import Wire, request


def test_any_request(engine: Engine, caller: Caller) -> None:
    """Whatever is sent, the answer is documented, and the engine goes on as before.

    The library is the test's own: some of the requests are adds that succeed.
    """
    wire = Wire(caller.url)
    before = len(engine.log())
    outcomes: Counter[str] = Counter()

    @seed(20260701)
    @settings(max_examples=150)
    @given(st.integers(0, 2**32))
    def send(number: int) -> None:
        sent, whole = request(random.Random(number), caller.token)
        outcome = wire.outcome(sent, whole=whole)
        outcomes[outcome] += 1
        assert not outcome.startswith("WRONG"), (outcome, sent[:300])

    send()
    wire.close()
    assert 0 == code_of(caller.call("search", image=jpeg(1)))
    log = engine.log()[before:]
    assert "Traceback" not in log
    assert "internal error" not in log
    told = {f"code {code}" for code in (0, codes.PARAM_INVALID, codes.IMAGE_ENCODING, 100)}
    assert told <= outcomes.keys(), outcomes
    assert len(outcomes) > 10, outcomes


@pytest.mark.parametrize(("whole", "expected"), [(True, "HTTP 400"), (False, "nothing")])
def test_only_a_broken_request_may_go_unanswered(whole: bool, expected: str) -> None:
    """A slow answer to a whole request is waited for; to a broken one, often none comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(100)
                gone.wait(1.1)
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        gone = threading.Event()
        answering = threading.Thread(target=answer)
        answering.start()
        wire = Wire(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert expected == wire.outcome(b"GET / HTTP/1.1\r\n\r\n", whole=whole)
        gone.set()
        wire.close()
        answering.join()
