"""Runs all failing cases in this process: every logger at DEBUG, tracing on, ears everywhere.

The cases run in a process of their own (``worker``), so that its output is what an operator would
keep. Secrets come from the seed and never from the command line.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import aiohttp
import requests
import uvloop

from productsearch import v1
from productsearch_service import limits
from productsearch_service.call_context import CallContext, Caller, Deadline
from productsearch_service.counters import Counters
from productsearch_service.errors import ServiceError
from productsearch_service.library.commands import Delete
from productsearch_service.library.library import Library
from productsearch_service.observability import logs
from productsearch_service.rpc.status import status_of
from productsearch_service.server.key_pairs import credentials_of
from productsearch_service.server.libraries import build_library
from productsearch_service.settings import Settings
from productsearch_service.settings_library import LibrarySettings
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import TokenSource
from productsearch_service.upstream.http.transport import Transport
from tests.facade import Server
from tests.soak.ears import Ears, Records, hear_loop, hear_scraped
from tests.soak.failing_calls import CALLS, TOKEN_TRIES, call_and_hear
from tests.soak.hostile_faults import CASES, FAULTS, RARE
from tests.soak.hostile_upstream import STALL_S
from tests.soak.secret_pieces import Pieces, Secrets
from tests.soak.traces import traced
from tests.soak.written import Written, everything_written

_STUB_SHARE: Final = 0.1
_CANCELLED_SHARE: Final = 0.03
_CANCEL_WITHIN_S: Final = 0.02
_AT_ONCE: Final = 8
_CALLS_OF_A_LIBRARY: Final = 4
"""A library's breaker opens after five failures; then nothing would reach the upstream."""
_SHORT_DEADLINE_S: Final = 0.2
_CALLER: Final = Caller("soak")

_Used = dict[tuple[str, str], tuple[int, Library, TokenIssuer]]


class Attack:
    """All cases against one hostile upstream, in this process."""

    def __init__(self, url: str, seed: int, size: int) -> None:
        self.secrets = Secrets.of(seed)
        self._pieces = Pieces(self.secrets)
        self.ears = Ears(self._pieces)
        self.failures: Counter[str] = Counter()
        self._url = url
        self._seed = seed
        self._counters = Counters().library("soak")
        self._by_stub = round(size * _STUB_SHARE)
        self._in_process = size - self._by_stub

    def run(self) -> None:
        """Run every case; a failure that does not fail is missing in ``failures``."""
        _listen_to_everything(self.ears)
        threading.excepthook = lambda death: self.ears.exception(death.exc_value, "thread: ")
        sys.unraisablehook = lambda death: self.ears.exception(death.exc_value, "unraisable: ")
        # In asyncio's debug mode more is logged, with reprs of tasks and callbacks.
        with asyncio.Runner(debug=True, loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._beneath_grpc())
            # What asyncio says of tasks that nobody waited for it says when they are collected.
            gc.collect()
        with everything_written() as written:
            self._over_grpc(written)
            written.hear(self._pieces, self.ears)
        gc.collect()
        self.ears.flush()

    async def _beneath_grpc(self) -> None:
        hear_loop(asyncio.get_running_loop(), self.ears)
        await self._reprs()
        numbers = iter(range(self._in_process))
        await asyncio.gather(*(self._some(numbers) for _ in range(_AT_ONCE)))

    async def _some(self, numbers: Iterator[int]) -> None:
        """Run cases one after another, with libraries that no other task uses."""
        used: _Used = {}
        for number in numbers:
            self.failures[await self._one(number, used)] += 1
        for _, library, issuer in used.values():
            await library.close()
            issuer.close()

    def _case(self, number: int) -> tuple[str, str, random.Random]:
        chance = random.Random(self._seed * 1_000_003 + number)
        fault, place = CASES[number % len(CASES)]
        if fault in RARE and chance.random() < 0.9:
            fault = chance.choice([name for name in FAULTS if name not in RARE])
        return fault, place, chance

    def _settings(self, fault: str, place: str) -> LibrarySettings:
        return LibrarySettings(
            base_url=f"{self._url}/{fault}/{place}",
            api_key=self.secrets.api_key,  # type: ignore[arg-type] # as from the environment
            secret_key=self.secrets.secret_key,  # type: ignore[arg-type]
            quota_qps=0,
        )

    async def _one(self, number: int, used: _Used) -> str:
        """Let one call fail beneath the gRPC server; return what came of it."""
        fault, place, chance = self._case(number)
        deadline = Deadline.after(_SHORT_DEADLINE_S if fault == "stall" else 10.0)
        attempt = chance.choice(TOKEN_TRIES if place == "token" else CALLS)
        library, issuer = await self._used(fault, place, used)
        leaves = chance.random() < _CANCELLED_SHARE
        call = asyncio.ensure_future(attempt(library, issuer, CallContext(_CALLER, deadline)))
        try:
            if leaves:
                await asyncio.sleep(chance.uniform(0, _CANCEL_WITHIN_S))
                call.cancel()
            await call
        except asyncio.CancelledError as error:
            self.ears.exception(error, "cancelled ")
            return "cancelled"
        except ServiceError as error:
            self.ears.exception(error)
            status = status_of(error)
            where = f"{fault} at {place}"
            self.ears.status(where, status, "", status.SerializeToString())
            return "failed"
        except Exception as error:  # noqa: BLE001 - the count of these is a measure
            self.ears.exception(error, "unforeseen ")
            return f"unforeseen {type(error).__name__}"
        return f"{fault} at {place} succeeded"

    async def _used(self, fault: str, place: str, used: _Used) -> tuple[Library, TokenIssuer]:
        """Return a library and an issuer for a kind of case; new ones now and then."""
        if (fault, place) in used:
            left, library, issuer = used.pop((fault, place))
            if left:
                used[fault, place] = (left - 1, library, issuer)
                return library, issuer
            await library.close()
            issuer.close()
        settings = self._settings(fault, place)
        library = build_library(settings, 1, self._counters)
        issuer = TokenIssuer(settings.base_url, None, credentials_of(settings))
        used[fault, place] = (_CALLS_OF_A_LIBRARY - 1, library, issuer)
        return library, issuer

    def _over_grpc(self, written: Written) -> None:
        """Let calls fail through the whole service, in each of its libraries in turn."""
        libraries = {
            f"{fault}.{place}": self._settings(fault, place).model_dump()
            for fault, place in CASES
            if fault != "stall"
        }
        settings = Settings(
            listen="127.0.0.1:0",
            admin_listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            libraries=libraries,
            default_library=next(iter(libraries)),
            drain_delay_s=0,
            drain_grace_s=1,
            **written.settings(),
        )
        for text in (repr(settings), str(settings), settings.model_dump_json()):
            self.ears.hear("repr", "Settings", text)
        server = Server(settings, with_admin=True)
        server.run(self._hear_server(server))
        server.start()
        names = itertools.islice(itertools.cycle(libraries), self._by_stub)
        with v1.connect(f"127.0.0.1:{server.port}") as channel, ThreadPoolExecutor(8) as pool:
            stub = v1.ProductSearchStub(channel)
            for outcome in pool.map(
                lambda numbered: call_and_hear(stub, *numbered, self.ears), enumerate(names)
            ):
                self.failures[outcome] += 1
        hear_scraped(f"127.0.0.1:{server.metrics_port}", self.ears)
        server.stop(threading.Event())

    async def _hear_server(self, server: Server) -> None:
        hear_loop(asyncio.get_running_loop(), self.ears)
        for shown in (server.service, vars(server.service)):
            self.ears.hear("repr", "Server", repr(shown))

    async def _reprs(self) -> None:
        """Look at everything that holds a secret, before and after it was used."""
        settings = self._settings("unknown", "call")
        transport = Transport(settings.base_url)
        credentials = credentials_of(settings)
        issuer = TokenIssuer(settings.base_url, None, credentials)
        tokens = TokenSource(issuer)
        library = build_library(settings, 1, self._counters)
        context = CallContext(_CALLER, Deadline.after(10))
        try:
            await library.delete(Delete("1,2"), context)
        except ServiceError as error:
            self.ears.exception(error)
        shown = [credentials.read(), settings, transport, credentials, issuer, tokens, library]
        shown += [context, await issuer(), await tokens.get(context.deadline)]
        for value in [*shown, *(vars(each) for each in shown if hasattr(each, "__dict__"))]:
            self.ears.hear("repr", type(value).__name__, f"{value!r} {value}")
        await transport.close()
        await tokens.close()
        issuer.close()
        await library.close()


def _listen_to_everything(ears: Ears) -> None:
    """Log as the product does, and then force every logger there is to DEBUG."""
    logs.install("DEBUG")
    names = ("urllib3", "urllib3.connectionpool", "requests", "grpc", "grpc._server", "grpc.aio")
    for name in (*names, "asyncio", "aiohttp", "aiohttp.client", "aiohttp.internal"):
        logging.getLogger(name)
    logging.captureWarnings(True)
    for logger in [*logging.root.manager.loggerDict.values(), logging.root]:
        if isinstance(logger, logging.Logger):
            logger.setLevel(logging.DEBUG)
            logger.disabled = False
    logging.root.addHandler(Records(ears))


def _hurry() -> None:
    """Take the waiting out of retries: here the clock proves nothing."""
    for name in ("BACKOFF_FIRST_S", "BACKOFF_MAX_S", "QPS_BACKOFF_MIN_S", "CALL_MIN_S"):
        setattr(limits, name, 0.001)
    limits.TOKEN_FETCH_TIMEOUT_S = STALL_S / 2  # type: ignore[misc]


async def _get(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url):
        pass


def worker(url: str, seed: int, size: int, results: Path) -> None:
    """Run the cases and write down what was heard."""
    _hurry()
    attack = Attack(url, seed, size)
    with traced(attack.ears):
        # Two calls that are nobody's secret: tracing is on.
        requests.get(f"{url}/unknown/call/traced", timeout=10)
        asyncio.run(_get(f"{url}/unknown/call/traced"))
        attack.run()
    attack.ears.flush()
    results.write_text(
        json.dumps(
            {
                "heard": [[*place, count] for place, count in attack.ears.heard.items()],
                "texts": attack.ears.texts,
                "failures": attack.failures,
            }
        )
    )
    logging.shutdown()
    os._exit(0)  # threads that wait for a stalled upstream are of no interest
