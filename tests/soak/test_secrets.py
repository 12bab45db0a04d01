"""The attack on the secrets, at the size of every test run."""

from __future__ import annotations

import base64
import json
import random
from urllib.parse import quote

import pytest
import requests

from tests.fakes.upstream import FakeUpstream
from tests.soak.ears import Ears
from tests.soak.measures import assert_kept
from tests.soak.secret_pieces import Pieces, Secrets
from tests.soak.secrets import FULL, SEED, run
from tests.soak.traces import SINK, traced

SIZE = FULL // 10
SECRETS = Secrets.of(SEED)


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


def test_the_ears_hear_spans(upstream: FakeUpstream) -> None:
    """What tracing exports of an ordinary call with a token in its URL is heard."""
    ears = Ears(Pieces(SECRETS))
    with traced(ears):
        requests.post(f"{upstream.url}/?access_token={SECRETS.tokens[0]}", timeout=10)
    ears.flush()
    assert {(SINK, "span POST: token, plain")} == {*ears.heard}
