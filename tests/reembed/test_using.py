"""The calls that are made while an embedding changes: what breaks is counted, and ends nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.fakes.upstream import FakeUpstream, Fault
from tests.lifecycle.asking import until
from tests.reembed.using import Use


def test_calls_that_break_are_failures(upstream: FakeUpstream) -> None:
    """A connection that is reset, and an answer without a hit, are failures each time."""
    upstream.always("add", Fault("reset"))
    upstream.always("search", Fault("close"))
    engine: Any = SimpleNamespace(url=upstream.url)
    caller: Any = SimpleNamespace(api_key="k", secret_key="s")
    with Use(engine, caller, 0) as use:
        until(lambda: len(use.failures) >= 3, "failures of both")
        upstream.always("search", {"log_id": 1, "result": []})
        until(lambda: {"log_id": 1, "result": []} in use.failures, "an answer without a hit")
    assert use.calls == len(use.failures)
