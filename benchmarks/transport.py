"""The transport beside plain aiohttp that posts the same ready body, and beside urllib3."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import urllib3
import uvloop

from benchmarks import forms, images, load, plain_aiohttp, stage
from benchmarks.clocks import cpu_s, in_turns, ratios
from benchmarks.findings import Findings, at_most, microseconds
from productsearch_service.call_context import Deadline
from productsearch_service.images.form_encoding import FormEncoder
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedText

_BARS: Final = {"1 KB": 1.45, "300 KB": 1.25}
_BYTES_A_ROUND: Final = 100_000_000
_CALLS_A_ROUND: Final = 600
_CALLS_A_TURN: Final = 20


def run(rounds: int) -> Findings:
    """Post each size by ours, by plain aiohttp and by urllib3."""
    rows: list[tuple[str, ...]] = [
        ("size, upstream", "aiohttp", "ours", "urllib3", "ours / aiohttp", "urllib3 / aiohttp")
    ]
    measures, numbers = [], {}
    for tls in (False, True):
        with stage.upstream(tls=tls) as (url, bundle):
            for size, size_bytes in images.SIZES.items():
                values = measure(url, bundle, size_bytes, rounds)
                ratio = statistics.median(ratios(values["ours"], values["aiohttp"]))
                of_threads = statistics.median(ratios(values["urllib3"], values["aiohttp"]))
                medians = [statistics.median(of_name) for of_name in values.values()]
                where = f"{size}, {'TLS' if tls else 'plain'}"
                rows.append(
                    (where, *map(microseconds, medians), f"{ratio:.2f}", f"{of_threads:.2f}")
                )
                numbers[where] = {"cpu_seconds": values, "ratio": ratio}
                if size in _BARS and not tls:
                    name = f"transport, {size}: CPU ours / aiohttp"
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
    size_bytes: int,
    rounds: int,
    calls_a_round: int = _CALLS_A_ROUND,
) -> dict[str, list[float]]:
    """Return the CPU seconds of one call, for each way of making it: their mean in each round.

    Turns are short, many to a round: where the system has put client and upstream changes what a
    call costs by a third, and changes a few times a second.
    """
    calls = max(_CALLS_A_TURN, min(calls_a_round, _BYTES_A_ROUND // size_bytes))
    turns = calls // _CALLS_A_TURN
    with _ways(url, bundle, size_bytes) as ways:
        values = in_turns(
            {name: partial(_turn_cpu_s, way) for name, way in ways.items()}, turns * rounds
        )
    return {
        name: [statistics.fmean(of_way[at : at + turns]) for at in range(0, turns * rounds, turns)]
        for name, of_way in values.items()
    }


def _turn_cpu_s(way: Callable[[int], object]) -> float:
    """Return the CPU seconds of one call, over a turn of one way, which makes so many calls."""
    return cpu_s(partial(way, _CALLS_A_TURN), 1) / _CALLS_A_TURN


@contextmanager
def _ways(
    url: str, bundle: Path | None, size_bytes: int
) -> Iterator[Mapping[str, Callable[[int], object]]]:
    path, query = forms.PATH + "add", MaskedText(forms.QUERY)
    trusted = {"ca_certs": str(bundle)} if bundle else {}
    pool = urllib3.connection_from_url(url, **trusted)
    by_urllib3 = load.poster(pool, size_bytes)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:

        async def opened() -> tuple[Transport, plain_aiohttp.Poster]:
            return Transport(url, bundle), plain_aiohttp.Poster(url, bundle)

        transport, poster = loop.run(opened())
        value = loop.run(FormEncoder().form_value(images.of_size(size_bytes), fits=False))
        parts = (b"image=", *value, b"&brief=a+brief")

        async def ours() -> None:
            status, content, _ = await transport.post(path, query, parts, Deadline.after(30))
            forms.check(status, content)

        def in_a_row(post: Callable[[], Awaitable[None]]) -> Callable[[int], None]:
            async def posts(times: int) -> None:
                for _ in range(times):
                    await post()

            return lambda times: loop.run(posts(times))

        def raw(times: int) -> None:
            for _ in range(times):
                by_urllib3()

        yield {
            "aiohttp": in_a_row(poster.ready("add", size_bytes)),
            "ours": in_a_row(ours),
            "urllib3": raw,
        }
        loop.run(transport.close())
        loop.run(poster.close())
    pool.close()
