"""Mutated requests to a real engine: documented codes only, and nothing untoward in its log."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from demo.processes import Engine
from productsearch_engine.api import codes
from tests.engine.calling import Caller, code_of
from tests.engine.image_files import jpeg
from tests.engine.wire import Wire, request


def test_any_request(engine: Engine, shared_caller: Caller) -> None:
    """Whatever is sent, the answer is documented, and the engine goes on as before."""
    wire = Wire(shared_caller.url)
    before = len(engine.log())
    outcomes: Counter[str] = Counter()

    @seed(20260701)
    @settings(max_examples=150)
    @given(st.integers(0, 2**32))
    def send(number: int) -> None:
        sent = request(random.Random(number), shared_caller.token)
        outcome = wire.outcome(sent)
        outcomes[outcome] += 1
        assert not outcome.startswith("WRONG"), (outcome, sent[:300])

    send()
    wire.close()
    assert 0 == code_of(shared_caller.call("search", image=jpeg(1)))
    log = engine.log()[before:]
    assert "Traceback" not in log
    assert "internal error" not in log
    told = {f"code {code}" for code in (0, codes.PARAM_INVALID, codes.IMAGE_ENCODING, 100)}
    assert told <= outcomes.keys(), outcomes
    assert len(outcomes) > 10, outcomes
