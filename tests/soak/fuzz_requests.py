"""Random requests to a whole service: every outcome has to be a documented one."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from productsearch import v1
from productsearch_service.rpc.status import CODES
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream
from tests.pictures import jpeg
from tests.soak.fuzz_messages import random_wire
from tests.soak.fuzz_told import tell
from tests.soak.measures import Measure, at_least, equal

_PATIENCE_S: Final = 20.0
_METHODS: Final[tuple[tuple[str, type[Message]], ...]] = (
    ("AddImage", v1.AddImageRequest),
    ("SearchImages", v1.SearchImagesRequest),
    ("UpdateImage", v1.UpdateImageRequest),
    ("DeleteImage", v1.DeleteImageRequest),
    ("BatchDeleteImages", v1.BatchDeleteImagesRequest),
    ("BulkAddImages", v1.BulkAddImagesRequest),
)
_DOCUMENTED: Final = frozenset(CODES.values())
_NO_MESSAGE: Final = "request: not a message"
"""How the answer to bytes that are no message begins, with FIELD_INVALID; in a stream too."""


def feed_requests(size: int, seed: int) -> Iterator[Measure]:
    """Send random requests; afterwards the service has to answer an ordinary one."""
    outcomes: Counter[str] = Counter()
    with FakeUpstream() as upstream:
        library = {"base_url": upstream.url, "api_key": "k", "secret_key": "s", "quota_qps": 0}
        server = Server(
            Settings(
                listen="127.0.0.1:0",
                libraries={"default": library},  # type: ignore[dict-item] # as from TOML
                drain_delay_s=0,
                drain_grace_s=1,
            )
        )
        server.start()
        with v1.connect(f"127.0.0.1:{server.port}") as channel, ThreadPoolExecutor(6) as pool:
            for outcome in pool.map(
                lambda number: _ask(channel, random.Random(seed * 1_000_003 + number)), range(size)
            ):
                outcomes[outcome] += 1
            image = v1.ImageSource(content=jpeg(1, 300, 300))
            after = v1.ProductSearchStub(channel).SearchImages(
                v1.SearchImagesRequest(image=image), timeout=_PATIENCE_S
            )
        server.stop(threading.Event())
    print(f"requests {dict(outcomes.most_common())}; calls upstream {len(upstream.calls)}")
    wrong = sum(count for outcome, count in outcomes.items() if outcome.startswith("WRONG"))
    yield equal(f"requests: undocumented outcomes of {size}", wrong, 0)
    yield at_least("requests: kinds of outcome", len(outcomes), 7)
    yield at_least("requests: that got to the upstream", len(upstream.calls), size / 20)
    yield at_least("requests: answered after all that", len(after.results), 1)


def _ask(channel: grpc.Channel, chance: random.Random) -> str:
    """Send one request; return OK, ``no message``, its reason, or WRONG and what was wrong."""
    method, kind = chance.choice(_METHODS)
    path = f"/productsearch.v1.ProductSearch/{method}"
    sent = [random_wire(kind, chance) for _ in range(chance.randint(0, 4))] or [(b"", True)]
    try:
        if method == "BulkAddImages":
            stream = channel.stream_stream(path)
            for _ in stream(iter([wire for wire, _ in sent]), timeout=_PATIENCE_S):
                pass
        else:
            sent = sent[:1]
            channel.unary_unary(path)(sent[0][0], timeout=_PATIENCE_S)
    except grpc.RpcError as error:
        outcome = _outcome(error, surely_messages=all(sure for _, sure in sent))
        if outcome.startswith("WRONG"):
            tell("requests", f"{method} {outcome}: {[wire[:200] for wire, _ in sent]}")
        return outcome
    return "OK"


def _outcome(error: Any, *, surely_messages: bool) -> str:
    code, details = error.code(), error.details()
    if surely_messages and details.startswith(_NO_MESSAGE):
        return "WRONG: a message was not read"
    if "metadata size exceeds" in details:
        return "WRONG: the status is too long for the client"
    status = v1.status_of(error)
    if status is None:
        return f"WRONG: no status {code.name} {details}"
    reason = v1.reason_of(error)
    if reason is None:
        return f"WRONG: no reason {code.name} {details}"
    if code.value[0] not in _DOCUMENTED or CODES[v1.ErrorReason.Name(reason)] != code.value[0]:
        return f"WRONG: code {code.name} {details}"
    name = v1.ErrorReason.Name(reason)
    if details.startswith(_NO_MESSAGE):
        return "no message" if name == "FIELD_INVALID" else f"WRONG: {name} {details}"
    return f"WRONG: {name} {details}" if name == "SERVER_FAULT" else name
