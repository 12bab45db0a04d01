"""Tracing that an operator switches on exports nothing of the upstream's URL."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fakes.upstream import FakeUpstream

_TRACED = """
import sys
from contextlib import ExitStack, suppress
from tests.soak.ears import Ears
from tests.soak.secret_pieces import Pieces, Secrets
from tests.soak.traces import SINK, traced

url, first = sys.argv[1:]
secrets = Secrets.of(1)
ears = Ears(Pieces(secrets))
with ExitStack() as stack:
    if first == "tracing":
        stack.enter_context(traced(ears))
    from productsearch_service.deadline import Deadline
    from productsearch_service.upstream.sealed import SealedText
    from productsearch_service.upstream.transport import Transport, TransportFailure
    if first == "service":
        stack.enter_context(traced(ears))
    for scheme in ("http", "https"):
        with suppress(TransportFailure):
            query = SealedText(f"?access_token={secrets.tokens[0]}")
            Transport(f"{scheme}://{url}").post("/", query, (b"x",), Deadline.after(10))
ears.flush()
print(ears.texts[SINK], *ears.heard)
"""


@pytest.mark.parametrize("first", ["service", "tracing"])
def test_calls_of_the_upstream_make_no_spans(first: str, upstream: FakeUpstream) -> None:
    """Whether tracing starts before or after the service is loaded: nothing of a call is told."""
    host = upstream.url.removeprefix("http://")
    command = [sys.executable, "-c", _TRACED, host, first]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ["x"] == [request.body.decode() for request in upstream.received]
    assert "1" == done.stdout.strip()  # the metrics, with nothing in them
