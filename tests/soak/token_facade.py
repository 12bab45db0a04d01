"""Calls through a whole facade whose tokens the upstream rejects."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from unittest.mock import patch

import grpc

from productsearch.v1 import DeleteImageRequest, ImageRef, ProductSearchStub, connect
from productsearch_service import limits
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import Received, error
from tests.soak.measures import Measure, equal
from tests.soak.token_rivals import PAIR, PATIENCE_S, TokenEndpoint
from tests.soak.token_stage import Size

_DELETE: Final = DeleteImageRequest(image_ref=ImageRef(cont_sign="1,2"))


def rejections(size: Size) -> list[Measure]:
    """Calls in flight together whose one token is answered 110 or 111, through the facade.

    Real gRPC, real HTTP. The bounds on RPCs and connections are lifted for the thousand.
    """
    arrivals = _Arrivals(size.herd)
    with TokenEndpoint(answer_s=0.05) as endpoint:
        endpoint.always("delete", arrivals.answer)
        with token_facade(endpoint, rpcs_max=2 * size.herd) as stub:
            failed = failed_rpcs(stub, size.herd)
        calls = endpoint.tokens_asked
    return [
        equal("calls in flight when their token was rejected", arrivals.together, size.herd),
        equal("token calls after 110 or 111 for one generation", calls - 1, 1),
        equal("failures after 110 or 111 for one generation", failed, 0),
    ]


def revocations(size: Size) -> list[Measure]:
    """One generation after another is revoked while a facade with its usual bounds serves."""
    revoked: set[str] = set()
    failed = 0

    def answer(request: Received) -> dict[str, Any]:
        if request.token in revoked:
            return error(110 + len(revoked) % 2)
        return {"log_id": 1}

    with TokenEndpoint() as endpoint:
        endpoint.always("delete", answer)
        with token_facade(endpoint) as stub:
            failed += failed_rpcs(stub, 1)
            for _ in range(size.revocations):
                revoked.add(endpoint.calls[-1].token)
                failed += failed_rpcs(stub, 32)
        calls = endpoint.tokens_asked
    return [
        equal("token calls for each revoked generation", (calls - 1) / size.revocations, 1),
        equal(f"failed RPCs over {size.revocations} revocations", failed, 0),
    ]


class _Arrivals:
    """Rejects the first token's calls once all of them are there; answers other tokens well."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._changed = threading.Condition()
        self._token: str | None = None
        self.together = 0

    def answer(self, request: Received) -> dict[str, Any]:
        with self._changed:
            self._token = self._token or request.token
            if request.token != self._token:
                return {"log_id": 1}
            self.together += 1
            number = self.together
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.together >= self._expected, PATIENCE_S / 2)
        return error(110 + number % 2)


@contextlib.contextmanager
def token_facade(
    endpoint: TokenEndpoint, rpcs_max: int = 0, key_pair: dict[str, Any] | None = None
) -> Iterator[ProductSearchStub]:
    """Run a facade in front of the endpoint.

    ``rpcs_max`` lifts its bounds on RPCs in flight, of which one caller may have three quarters,
    and on those of a connection.
    """
    known = {"api_key": PAIR.api_key, "secret_key": PAIR.secret_key}
    library = {"base_url": endpoint.url, "quota_qps": 0} | (key_pair or known)
    settings: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "libraries": {"default": library},
        "drain_delay_s": 0,
        "drain_grace_s": 1,
    }
    most = rpcs_max or limits.RPCS_IN_FLIGHT_MAX
    if rpcs_max:
        settings["connection_streams_max"] = rpcs_max
    with patch.object(limits, "RPCS_IN_FLIGHT_MAX", most):
        server = Server(Settings(**settings))
        server.start()
    channel = connect(f"127.0.0.1:{server.port}")
    try:
        yield ProductSearchStub(channel)
    finally:
        channel.close()
        server.stop(threading.Event())


def failed_rpcs(stub: ProductSearchStub, calls: int) -> int:
    """Delete that many times at once and return how many failed; print why."""
    pending = [stub.DeleteImage.future(_DELETE, timeout=2 * PATIENCE_S) for _ in range(calls)]
    why: Counter[str] = Counter()
    for call in pending:
        if failure := call.exception():
            why[failure.details() if isinstance(failure, grpc.Call) else str(failure)] += 1
    for sentence, count in why.items():
        print(f"  {count} failed: {sentence}", flush=True)
    return why.total()
