"""Runs all failing cases in this process: every logger at DEBUG, tracing on, ears everywhere.

The cases run in a process of their own (``worker``), so that its output is what an operator would
keep. Secrets come from the seed and never from the command line.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import requests

from productsearch import v1
from productsearch_service import limits, logs
from productsearch_service.building import _credentials, build_library
from productsearch_service.calls import Ask, Delete
from productsearch_service.deadline import Deadline
from productsearch_service.errors import ServiceError
from productsearch_service.libraries import Library
from productsearch_service.server import Server
from productsearch_service.settings import LibrarySettings, Settings
from productsearch_service.status import status_of
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.token import TokenSource
from productsearch_service.upstream.transport import Transport
from tests.soak.ears import Ears, Tracebacks, hear_scraped
from tests.soak.failing_calls import CALLS, TOKEN_TRIES, call_and_hear
from tests.soak.hostile_faults import CASES, FAULTS, RARE
from tests.soak.hostile_upstream import STALL_S
from tests.soak.secret_pieces import Pieces, Secrets
from tests.soak.traces import traced

_STUB_SHARE: Final = 0.1
_THREADS: Final = 8
_CALLS_OF_A_LIBRARY: Final = 4
"""A library's breaker opens after five failures; then nothing would reach the upstream."""
_SHORT_DEADLINE_S: Final = 0.2


class Attack:
    """All cases against one hostile upstream, in this process."""

    def __init__(self, url: str, seed: int, size: int) -> None:
        self.secrets = Secrets.of(seed)
        self.ears = Ears(Pieces(self.secrets))
        self.failures: Counter[str] = Counter()
        self._url = url
        self._seed = seed
        self._of_thread = threading.local()
        self._by_stub = round(size * _STUB_SHARE)
        self._in_process = size - self._by_stub

    def run(self) -> None:
        """Run every case; a failure that does not fail is missing in ``failures``."""
        _listen_to_everything(self.ears)
        threading.excepthook = lambda death: self.ears.exception(death.exc_value, "thread: ")
        sys.unraisablehook = lambda death: self.ears.exception(death.exc_value, "unraisable: ")
        self._reprs()
        with ThreadPoolExecutor(_THREADS) as pool:
            for outcome in pool.map(self._one, range(self._in_process)):
                self.failures[outcome] += 1
        self._over_grpc()
        self.ears.flush()

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

    def _one(self, number: int) -> str:
        """Let one call fail beneath the gRPC server; return what came of it."""
        fault, place, chance = self._case(number)
        ask = Ask("soak", Deadline.after(_SHORT_DEADLINE_S if fault == "stall" else 10.0))
        attempt = chance.choice(TOKEN_TRIES if place == "token" else CALLS)
        library, issuer = self._used(fault, place)
        try:
            attempt(library, issuer, ask)
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

    def _used(self, fault: str, place: str) -> tuple[Library, TokenIssuer]:
        """Return this thread's library and issuer for a kind of case; new ones now and then."""
        mine: dict[tuple[str, str], list[Any]] = self._of_thread.__dict__
        left, library, issuer = mine.get((fault, place), (0, None, None))
        if not left:
            settings = self._settings(fault, place)
            if library is not None:
                library.close()
            left, library = _CALLS_OF_A_LIBRARY, build_library(settings, 1)
            issuer = TokenIssuer(Transport(settings.base_url), _credentials(settings))
        mine[fault, place] = [left - 1, library, issuer]
        return library, issuer

    def _over_grpc(self) -> None:
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
        )
        for text in (repr(settings), str(settings), settings.model_dump_json()):
            self.ears.hear("repr", "Settings", text)
        server = Server(settings, with_admin=True)
        self.ears.hear("repr", "Server", repr(server))
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

    def _reprs(self) -> None:
        """Look at everything that holds a secret, before and after it was used."""
        settings = self._settings("unknown", "call")
        transport = Transport(settings.base_url)
        credentials = _credentials(settings)
        issuer = TokenIssuer(transport, credentials)
        tokens = TokenSource(issuer)
        library = build_library(settings, 1)
        try:
            library.delete(Delete("1,2"), False, Ask("soak", Deadline.after(10)))
        except ServiceError as error:
            self.ears.exception(error)
        shown = [credentials.read(), settings, transport, credentials, issuer, tokens, library]
        shown += [issuer(), tokens.get(Deadline.after(10))]
        for value in [*shown, *(vars(each) for each in shown if hasattr(each, "__dict__"))]:
            self.ears.hear("repr", type(value).__name__, f"{value!r} {value}")


def _listen_to_everything(ears: Ears) -> None:
    """Log as the product does, and then force every logger there is to DEBUG."""
    logs.install("DEBUG")
    for name in ("urllib3", "urllib3.connectionpool", "requests", "grpc", "grpc._server"):
        logging.getLogger(name)
    for logger in [*logging.root.manager.loggerDict.values(), logging.root]:
        if isinstance(logger, logging.Logger):
            logger.setLevel(logging.DEBUG)
            logger.disabled = False
    logging.root.addHandler(Tracebacks(ears))


def _hurry() -> None:
    """Take the waiting out of retries: here the clock proves nothing."""
    for name in ("BACKOFF_FIRST_S", "BACKOFF_MAX_S", "QPS_BACKOFF_MIN_S", "CALL_MIN_S"):
        setattr(limits, name, 0.001)
    limits.TOKEN_FETCH_TIMEOUT_S = STALL_S / 2  # type: ignore[misc]


def worker(url: str, seed: int, size: int, results: Path) -> None:
    """Run the cases and write down what was heard."""
    _hurry()
    attack = Attack(url, seed, size)
    with traced(attack.ears):
        # One call that is nobody's secret: tracing is on.
        requests.get(f"{url}/unknown/call/traced", timeout=10)
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
