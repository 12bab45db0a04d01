"""The attack on the secrets, at the size of every test run."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import random
from collections.abc import Callable
from urllib.parse import quote

import aiohttp
import pytest
import requests

from productsearch_service.observability.traces import Spans
from productsearch_service.traces import Trace
from tests.fakes.upstream import PATH, FakeUpstream, Fault
from tests.soak.ears import Ears, Records, hear_loop
from tests.soak.measures import assert_kept
from tests.soak.secret_pieces import Pieces, Secrets
from tests.soak.secrets import FULL, SEED, run
from tests.soak.traces import SINK, traced
from tests.soak.written import AUDIT, SPANS, everything_written

SIZE = FULL // 10
SECRETS = Secrets.of(SEED)


async def _post(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url):
        pass


def _ask_by_aiohttp(url: str) -> None:
    asyncio.run(_post(url))


def _ask_by_requests(url: str) -> None:
    requests.post(url, timeout=10)


@pytest.mark.slow
def test_no_failure_tells_a_secret() -> None:
    """10,000 failures at log level DEBUG: not one run of 12 characters of a secret anywhere."""
    assert_kept(run(SIZE))


@pytest.mark.parametrize("pad", range(3))
@pytest.mark.parametrize("secret", [SECRETS.api_key, SECRETS.secret_key, *SECRETS.tokens])
def test_the_ears_hear_every_spelling(secret: str, pad: int) -> None:
    """Twelve characters from the middle are found: plain, percent, JSON, base64; eleven are not."""
    pieces = Pieces(SECRETS)
    at = random.Random(SEED).randrange(3, len(secret) - 12)
    run_of_it = secret[at : at + 12]
    spelled = [run_of_it, quote(run_of_it, safe=""), json.dumps({"x": run_of_it})]
    spelled.append(base64.b64encode(b"?" * pad + secret.encode() + b"?").decode())
    for text in spelled:
        assert pieces.found(f"before {text} after"), text
    assert [] == pieces.found(f"before {run_of_it[:11]} after")


def test_the_ears_hear_local_variables_and_contexts() -> None:
    """A secret in a local variable of a frame, or in an exception behind another, is heard."""
    ears = Ears(Pieces(SECRETS))
    # As a caller's module would: the frames of the soaks' own modules are left out.
    source = "def ask(url):\n try:\n  raise ValueError(url)\n finally:\n  pass\n"
    space: dict[str, object] = {}
    exec(compile(source, "asking.py", "exec"), space)
    try:
        try:
            space["ask"](SECRETS.tokens[0])  # type: ignore[operator]
        except ValueError:
            raise KeyError("x") from None
    except KeyError as error:
        ears.exception(error)
    ears.flush()
    heard = {where.partition(": token")[0] for _, where in ears.heard}
    assert {"context asking.py:ask url", "context ValueError"} <= heard


@pytest.mark.parametrize("ask", [_ask_by_requests, _ask_by_aiohttp])
def test_the_ears_hear_spans(upstream: FakeUpstream, ask: Callable[[str], None]) -> None:
    """What tracing exports of an ordinary call with a token in its URL is heard."""
    ears = Ears(Pieces(SECRETS))
    with traced(ears):
        ask(f"{upstream.url}/?access_token={SECRETS.tokens[0]}")
    ears.flush()
    assert {(SINK, "span POST: token, plain")} == {*ears.heard}


def test_the_ears_hear_what_a_facade_writes_of_its_calls() -> None:
    """A token in a span of its own, or in its audit stream, is heard."""
    pieces = Pieces(SECRETS)
    ears = Ears(pieces)
    leak = f"url {SECRETS.tokens[0]}"
    with everything_written() as written:
        spans = Spans.to(written.collector.url)
        trace = Trace("1" * 32, 0, spans.export)
        trace.end("AddImage", "OK", {"leak": leak}, trace.began_s)
        spans.close()
        written.audit_file.write_text(f"one\n{leak}\n")
        written.hear(pieces, ears)
    ears.flush()
    assert {SPANS, AUDIT} == {sink for sink, _ in ears.heard}
    assert (1, 2) == (ears.texts[SPANS], ears.texts[AUDIT])


def test_the_ears_hear_what_the_event_loop_tells() -> None:
    """A task that fails with a URL, and that nobody waits for, is heard in text and record."""
    ears = Ears(Pieces(SECRETS))
    handler, logger = Records(ears), logging.getLogger("asyncio")

    async def abandon() -> None:
        async def fail() -> None:
            raise ValueError(f"?access_token={SECRETS.tokens[0]}")

        hear_loop(asyncio.get_running_loop(), ears)
        abandoned = asyncio.create_task(fail())
        await asyncio.wait({abandoned})
        del abandoned
        gc.collect()

    logger.addHandler(handler)
    try:
        asyncio.run(abandon())
    finally:
        logger.removeHandler(handler)
    ears.flush()
    said = "Task exception was never retrieved"
    assert {
        ("event loop", f"{said}: exception: token, plain"),
        ("event loop", f"{said}: future: token, plain"),
        ("log record", "ERROR asyncio: token, plain"),
    } <= {*ears.heard}


def test_the_ears_hear_a_cancelled_call(upstream: FakeUpstream) -> None:
    """A call with a token in its URL that is cancelled tells it by the frames of aiohttp."""
    ears = Ears(Pieces(SECRETS))
    upstream.always("search", Fault(seconds=5, body=b"{}"))
    url = f"{upstream.url}{PATH}search?access_token={SECRETS.tokens[0]}"
    with pytest.raises(TimeoutError) as late:
        asyncio.run(asyncio.wait_for(_post(url), 0.2))
    ears.exception(late.value)
    ears.flush()
    assert "local variable" in {sink for sink, _ in ears.heard}
