"""Tracing that an operator switches on exports nothing of the upstream's URL."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.fakes.upstream import FakeUpstream, Fault
from tests.soak.secret_pieces import Secrets

_FAULTS = (None, Fault(kind="cut"), Fault(kind="close"), Fault(status=500))
_METHODS = ("token", "add", "search", "update", "delete")
"""Of the script: one that answers, one that speaks no TLS, one that is not there."""
_TRACED = """
import asyncio
import json
import sys
from contextlib import ExitStack, suppress

import aiohttp
import requests

from tests.soak.ears import Ears
from tests.soak.secret_pieces import Pieces, Secrets
from tests.soak.traces import SINK, traced

first, *urls = sys.argv[1:]
secrets = Secrets.of(1)
ears = Ears(Pieces(secrets))
told = {}

async def calls():
    from productsearch_service.call_context import Caller, CallContext, Deadline
    from productsearch_service.counters import Counters
    from productsearch_service.errors import ServiceError
    from productsearch_service.images import form_encoding
    from productsearch_service.library.commands import Add, Delete, Image, Search, Update
    from productsearch_service.server.libraries import build_library
    from productsearch_service.settings_library import LibrarySettings

    def library_at(base_url):
        settings = dict(base_url=base_url, quota_qps=0, attempts_max=1)
        keys = dict(api_key=secrets.api_key, secret_key=secrets.secret_key)
        settings = LibrarySettings(**settings, **keys)
        return build_library(settings, 1, Counters().library("default"))

    libraries = [library_at(url) for url in urls]
    if first == "service":
        stack.enter_context(traced(ears))
    small, large = (Image(form_encoding.encode(bytes(size))) for size in (100, 900_000))
    refused = "http://127.0.0.1:9"
    others = (library_at(urls[0].replace("http:", "https:")), library_at(refused))
    for at in (*libraries, *others):
        for image in (small, large):
            for call, command in (
                (at.add, Add(image, "b")),
                (at.search, Search(image, 0, 10, b"")),
                (at.update, Update(image, "b")),
                (at.delete, Delete("1,2")),
            ):
                with suppress(ServiceError):
                    await call(command, CallContext(Caller("c"), Deadline.after(10)))
        await at.close()

async def control():
    requests.get(urls[0] + "/control", timeout=10)
    async with aiohttp.ClientSession() as session, session.get(urls[0] + "/control"):
        pass

with ExitStack() as stack:
    if first == "tracing":
        stack.enter_context(traced(ears))
    asyncio.run(calls())
    told["spans"] = ears.texts[SINK]
    asyncio.run(control())
    told["spans of others"] = ears.texts[SINK] - told["spans"]
ears.flush()
told["heard"] = sorted(map(str, ears.heard))
print(json.dumps(told))
"""


@pytest.mark.parametrize("first", ["service", "tracing"])
def test_spans_tell_no_secret(first: str) -> None:
    """The four calls make no spans, whether they succeed or fail, and whether tracing of aiohttp,
    requests and urllib3 starts before or after the service is loaded, and the token calls neither.
    The metrics hold no token, key or secret. Other code of the process is traced.
    """
    token = Secrets.of(1).tokens[0]
    with ExitStack() as stack:
        upstreams = [stack.enter_context(FakeUpstream()) for _ in _FAULTS]
        for upstream, fault in zip(upstreams, _FAULTS, strict=True):
            upstream.always("token", {"access_token": token, "expires_in": 2_592_000})
            for method in _METHODS[1:] if fault else ():
                upstream.always(method, fault)
        urls = [upstream.url for upstream in upstreams]
        command = [sys.executable, "-c", _TRACED, first, *urls]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert 0 == done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert (0, []) == (told["spans"], told["heard"])
    assert told["spans of others"] >= 2
    for upstream in upstreams:
        arrived = {request.method for request in upstream.received if request.method in _METHODS}
        assert {*_METHODS} == arrived
        assert {token} == {call.token for call in upstream.calls if call.method in _METHODS[1:]}
