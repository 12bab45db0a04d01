"""Mutated and odd answers of the upstream, for the reader of answers."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from productsearch_service.errors import UpstreamProtocol
from productsearch_service.upstream import answers, codes
from tests.fakes.upstream import search_answer
from tests.soak.fuzz_told import tell
from tests.soak.measures import Measure, at_least, equal
from tests.wire.test_answers import _mutated

_SLOW_CPU_S: Final = 1.0
"""No body of a few hundred bytes may keep a thread computing for so long."""
_ODD: Final = (
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":' * 50_000,
    b'{"log_id":' + b"9" * 100_000 + b"}", b'{"error_code":' + b"9" * 5000 + b"}",
    b'{"error_code": 1e400, "log_id": NaN}', b'{"result": [{"score": -Infinity}]}',
    b'{"error_code": 18, "error_msg": "' + b"\\ud800" * 20_000 + b'"}',
    b'{"result": [{"cont_sign": "1,2", "score": "0.5", "brief": "\\udcff"}], "has_more": []}',
)  # fmt: skip


def _answer_seeds() -> list[bytes]:
    hits = [("1,2", 0.5, "b"), ("3,4", 0.25, "苹果")]
    return [
        json.dumps(search_answer(*hits)).encode(),
        json.dumps(
            search_answer(*hits, has_more="false", log_id="12"), ensure_ascii=False
        ).encode(),
        json.dumps({"log_id": "123", "cont_sign": "1,2"}).encode(),
        json.dumps({"error_code": 216681, "error_msg": "x", "cont_sign": "1,2"}).encode(),
        json.dumps({"error_code": "18", "error_msg": "Open api qps request limit"}).encode(),
    ]


def feed_answers(size: int, seed: int) -> Iterator[Measure]:
    """Feed mutated answers and the odd ones."""
    chance = random.Random(seed)
    seeds = _answer_seeds()
    outcomes: Counter[str] = Counter()
    slowest_s = 0.0
    for number in range(size):
        body = _ODD[number] if number < len(_ODD) else _mutated(chance, seeds)
        began_s = time.thread_time()
        outcomes[_read(body)] += 1
        slowest_s = max(slowest_s, time.thread_time() - began_s)
    print(f"answers {dict(outcomes)}")
    uncaught = size - outcomes["read"] - outcomes["refused"]
    yield equal(f"answers: uncaught of {size}", uncaught, 0)
    yield Measure(name="answers: slowest, CPU s", value=slowest_s, relation="<=", bar=_SLOW_CPU_S)
    yield at_least("answers: read", outcomes["read"], size / 100)
    yield at_least("answers: refused", outcomes["refused"], size / 100)


def _read(body: bytes) -> str:
    try:
        answer = answers.read(body)
        if answer.failed:
            error = codes.error_of(answer.words, "image", answer.cont_sign)
            error.message.encode()
        else:
            for hit in answers.page(answer).hits:
                (hit.cont_sign + hit.brief).encode()
    except UpstreamProtocol:
        return "refused"
    except Exception as error:  # noqa: BLE001 - none of these may come: counted and told
        tell("answers", f"{error!r:.200} for {body[:300]!r}")
        return type(error).__name__
    return "read"
