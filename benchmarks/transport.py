"""The transport beside a raw urllib3 pool that posts the same ready body."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import requests
import urllib3

from benchmarks import pictures, stage
from benchmarks.clocks import cpu_s, in_turns, ratios
from benchmarks.findings import Findings, at_most, microseconds
from productsearch_service.deadline import Deadline
from productsearch_service.upstream import form
from productsearch_service.upstream.sealed import SealedText
from productsearch_service.upstream.transport import Transport

PATH: Final = "/rest/2.0/image-classify/v1/realtime_search/product/add"
QUERY: Final = "?access_token=24.0123456789abcdef0123456789abcdef.2592000.1900000000.282335-1"
_HEADS: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
}
_BARS: Final = {"1 KB": 1.45, "300 KB": 1.25}
_BYTES_A_ROUND: Final = 100_000_000
_CALLS_A_ROUND: Final = 600
_CALLS_A_TURN: Final = 20


def run(rounds: int) -> Findings:
    """Post each size by ours, raw urllib3, a prepared request and ``session.post``."""
    rows: list[tuple[str, ...]] = [
        (
            "size, upstream",
            "urllib3",
            "ours",
            "requests, prepared",
            "session.post",
            "ours / urllib3",
        )
    ]
    measures, numbers = [], {}
    for tls in (False, True):
        with stage.upstream(tls=tls) as (url, bundle):
            for size, size_bytes in pictures.SIZES.items():
                body = form.pieces({"image": pictures.of_size(size_bytes), "brief": "a brief"})
                values = measure(url, bundle, body, rounds)
                ratio = statistics.median(ratios(values["ours"], values["urllib3"]))
                medians = [statistics.median(of_name) for of_name in values.values()]
                where = f"{size}, {'TLS' if tls else 'plain'}"
                rows.append((where, *map(microseconds, medians), f"{ratio:.2f}"))
                numbers[where] = {"cpu_seconds": values, "ratio": ratio}
                if size in _BARS and not tls:
                    name = f"transport, {size}: CPU ours / urllib3"
                    measures.append(at_most(name, ratio, _BARS[size]))
    return Findings(
        title="Transport, CPU of the client for one call",
        rows=rows,
        measures=measures,
        numbers=numbers,
    )


def measure(
    url: str,
    bundle: Path | None,
    body: form.Pieces,
    rounds: int,
    calls_a_round: int = _CALLS_A_ROUND,
) -> dict[str, list[float]]:
    """Return the CPU seconds of one call, for each way of making it: their mean in each round.

    Turns are short, many to a round: where the system has put client and upstream changes what a
    call costs by a third, and changes a few times a second.
    """
    calls = max(_CALLS_A_TURN, min(calls_a_round, _BYTES_A_ROUND // sum(map(len, body))))
    turns = calls // _CALLS_A_TURN
    with _ways(url, bundle, body) as ways:
        values = in_turns(
            {name: partial(cpu_s, way, _CALLS_A_TURN) for name, way in ways.items()},
            turns * rounds,
        )
    return {
        name: [statistics.fmean(of_way[at : at + turns]) for at in range(0, turns * rounds, turns)]
        for name, of_way in values.items()
    }


@contextmanager
def _ways(
    url: str, bundle: Path | None, pieces: form.Pieces
) -> Iterator[Mapping[str, Callable[[], object]]]:
    transport = Transport(url, bundle)
    query, target = SealedText(QUERY), PATH + QUERY
    body = b"".join(pieces)
    trusted = {"ca_certs": str(bundle)} if bundle else {}
    pool = urllib3.connection_from_url(url, **trusted)
    with requests.Session() as plain, requests.Session() as session:
        session.trust_env = False
        adapter = session.get_adapter(url)
        verify: bool | str = str(bundle) if bundle else True

        def ours() -> None:
            status, answer = transport.post(PATH, query, pieces, Deadline.after(30))
            _check(status, answer)

        def raw() -> None:
            answer = pool.urlopen("POST", target, body=body, headers=_HEADS, retries=False)
            _check(answer.status, answer.data)

        def prepared() -> None:
            request = requests.Request("POST", url + target, data=body, headers=_HEADS).prepare()
            answer = adapter.send(request, timeout=30, verify=verify)
            _check(answer.status_code, answer.content)

        def post() -> None:
            answer = plain.post(url + target, data=body, headers=_HEADS, timeout=30, verify=verify)
            _check(answer.status_code, answer.content)

        yield {"urllib3": raw, "ours": ours, "prepared": prepared, "session": post}
    transport.close()
    pool.close()


def _check(status: int, answer: bytes) -> None:
    if status != requests.codes.ok or not answer.endswith(b"}"):
        raise AssertionError(f"the upstream answered HTTP {status}")
