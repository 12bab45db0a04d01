"""How the token source holds up: herds, outages of the issuer, clock steps, replicas, secrets.

The issuer is a token endpoint on loopback that is asked over real HTTP; lifetimes, gates and
outages pass on a virtual clock. ``python -m tests.soak.token`` prints the herd's table of ours
and the rivals', then a line for each measure.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import parse_qs

import grpc
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from productsearch.v1 import DeleteImageRequest, ImageRef, ProductSearchStub, connect
from productsearch_service import limits
from productsearch_service.deadline import Deadline
from productsearch_service.errors import ServiceError, UpstreamUnavailable
from productsearch_service.server import Server
from productsearch_service.settings import Settings
from productsearch_service.upstream import token as token_module
from productsearch_service.upstream.credentials import FileCredentials, FixedCredentials
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.token import Issued, Issuer, TokenSource, TokenState
from productsearch_service.upstream.transport import Transport
from tests.fakes.upstream import Fault, Received, error
from tests.soak import token_rivals
from tests.soak.measures import Measure, report
from tests.soak.token_rivals import LIFETIME_S, PAIR, PATIENCE_S, Clock, Outcome, TokenEndpoint
from tests.soak.token_rivals import herd as herd_of
from tests.tokens.test_token_states import TokenStates

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
_DELETE: Final = DeleteImageRequest(image_ref=ImageRef(cont_sign="1,2"))


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything; ``timed``: also measure in seconds of this machine's clock."""

    seed: int
    threads: int
    callers: int
    revocations: int
    outage_s: int
    replicas: int
    swaps: int
    calls_per_step: int
    rival_threads: int
    rival_answer_s: float
    rival_failure_s: float
    orders: int
    timed: bool


FULL: Final = Size(
    seed=20250722,
    threads=1000,
    callers=200,
    revocations=100,
    outage_s=HOUR_S,
    replicas=100,
    swaps=1000,
    calls_per_step=1000,
    rival_threads=1000,
    rival_answer_s=0.5,
    rival_failure_s=0.02,
    orders=3000,
    timed=True,
)
SMALL: Final = Size(
    seed=20250722,
    threads=200,
    callers=50,
    revocations=5,
    outage_s=HOUR_S,
    replicas=100,
    swaps=60,
    calls_per_step=100,
    rival_threads=50,
    rival_answer_s=0.1,
    rival_failure_s=0.005,
    orders=50,
    timed=False,
)


def run(size: Size) -> list[Measure]:
    """Run every family and return all measures."""
    print(f"seed {size.seed}", flush=True)
    return [measure for family in FAMILIES for measure in family(size)]


def herds(size: Size) -> list[Measure]:
    """A herd on an empty cache, on a stale token whose refresh hangs, and on an expired one."""
    answered = threading.Event()

    def hanging(_: Received) -> dict[str, Any]:
        answered.wait(PATIENCE_S)
        return {"access_token": "24.second", "expires_in": LIFETIME_S}

    with TokenEndpoint(answer_s=0.05) as endpoint:
        clock = Clock()
        source = TokenSource(_issuer(endpoint.url), clock=clock)
        empty = _herd(size, source)
        calls_empty = endpoint.tokens_asked
        clock.now_s += LIFETIME_S * limits.TOKEN_STALE_TO + 1
        endpoint.always("token", hanging)
        stale = _herd(size, source)
        answered.set()
        _settle()
        calls_stale = endpoint.tokens_asked - calls_empty
        endpoint.always("token", None)
        clock.now_s += LIFETIME_S
        expired = _herd(size, source)
        calls_expired = endpoint.tokens_asked - calls_empty - calls_stale
    # Whoever waited for the hanging refresh waited as long as anybody may.
    blocked = sum(outcome.waited_s >= limits.TOKEN_WAIT_MAX_S for outcome in stale)
    outcomes = (*empty, *stale, *expired)
    return [
        _equal(f"token calls, {size.threads} threads on an empty cache", calls_empty, 1),
        _equal(f"token calls, {size.threads} threads on a stale token", calls_stale, 1),
        _equal("callers blocked on a stale token whose refresh hangs", blocked, 0),
        _equal("old token served while stale, callers", _served(stale, empty), size.threads),
        _equal(f"token calls, {size.threads} threads on an expired token", calls_expired, 1),
        _equal("failures of the three herds", _failed(outcomes), 0),
    ]


def rejections(size: Size) -> list[Measure]:
    """Calls in flight together whose one token is answered 110 or 111, through the facade.

    Real gRPC, real HTTP. The bound on RPCs in flight is lifted for the thousand.
    """
    arrivals = _Arrivals(size.threads)
    with TokenEndpoint(answer_s=0.05) as endpoint:
        endpoint.always("delete", arrivals.answer)
        with _facade(endpoint, rpcs_max=size.threads + 1) as stub:
            failed = _failed_rpcs(stub, size.threads)
        calls = endpoint.tokens_asked
    return [
        _equal("calls in flight when their token was rejected", arrivals.together, size.threads),
        _equal("token calls after 110 or 111 for one generation", calls - 1, 1),
        _equal("failures after 110 or 111 for one generation", failed, 0),
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
        with _facade(endpoint) as stub:
            failed += _failed_rpcs(stub, 1)
            for _ in range(size.revocations):
                revoked.add(endpoint.calls[-1].token)
                failed += _failed_rpcs(stub, 32)
        calls = endpoint.tokens_asked
    return [
        _equal("token calls for each revoked generation", (calls - 1) / size.revocations, 1),
        _equal(f"failed RPCs over {size.revocations} revocations", failed, 0),
    ]


def outages(size: Size) -> list[Measure]:
    """The issuer is down in each of its ways while the token is valid."""
    measures: list[Measure] = []
    with patch.object(limits, "TOKEN_FETCH_TIMEOUT_S", 0.1):
        for kind, answer in _OUTAGES.items():
            asked, errors, recovered = _outage(size, kind, answer)
            measures += [
                _equal(f"issuer {kind}: caller errors in {size.outage_s} s", errors, 0),
                _at_most(f"issuer {kind}: token calls", asked, size.outage_s / 30),
                _equal(f"issuer {kind}: new token afterwards", recovered, 1),
            ]
    return measures


def outage_without_token(size: Size) -> list[Measure]:
    """The issuer fails, then hangs, and nobody has a token."""
    steps = 10
    clock, chance = Clock(), random.Random(size.seed)
    asked_in_step, asked_behind_gate, untyped = [], 0, 0
    with TokenEndpoint() as endpoint:
        endpoint.always("token", Fault(status=500, body=b"out of service"))
        source = TokenSource(_issuer(endpoint.url), clock=clock, chance=chance.uniform)
        for step in range(steps):
            before = endpoint.tokens_asked
            outcomes = _herd(size, source, size.callers)
            _settle()
            asked_in_step.append(endpoint.tokens_asked - before)
            outcomes += _herd(size, source, size.callers)
            asked_behind_gate += endpoint.tokens_asked - before - asked_in_step[-1]
            untyped += sum(type(one.error) is not UpstreamUnavailable for one in outcomes)
            clock.now_s += 1.2 * min(limits.TOKEN_GATE_FIRST_S * 2**step, limits.TOKEN_GATE_MAX_S)
            clock.now_s += 0.001
    measures = [
        _equal("no token: most token calls in a back-off step", max(asked_in_step), 1),
        _equal("no token: least token calls in a back-off step", min(asked_in_step), 1),
        _equal("no token: token calls behind the gate", asked_behind_gate, 0),
        _equal("no token: callers without their one typed error", untyped, 0),
    ]
    if size.timed:
        measures.append(_at_most("issuer hangs: latest past min(deadline, 5 s), s", _late(size), 1))
    return measures


def wall_clock_steps(size: Size) -> list[Measure]:
    """The wall clock jumps under a token source with its own clock."""
    ahead_s = 0.0
    wall = time.time
    failed = 0
    with TokenEndpoint() as endpoint, patch("time.time", lambda: wall() + ahead_s):
        source = _read_anew(token_module).TokenSource(_issuer(endpoint.url))
        for ahead_s in (0, HOUR_S, -HOUR_S, 31 * DAY_S, -31 * DAY_S):  # noqa: B007 - the lambda's
            for _ in range(size.calls_per_step):
                failed += isinstance(_outcome(source), ServiceError)
            _settle()
        asked = endpoint.tokens_asked
    return [
        _equal("refreshes when the wall clock jumps 1 h and 31 d, both ways", asked - 1, 0),
        _equal("failures when the wall clock jumps", failed, 0),
    ]


def replicas(size: Size, lifetime_s: int = LIFETIME_S) -> list[Measure]:
    """Replicas that start together refresh apart.

    What refreshes can fall on is the whole window; a hundred drawn from it span a little less.
    """
    earliest, latest = (_refreshes(lifetime_s, [end])[0] for end in (min, max))
    chance = random.Random(size.seed)
    parts = sorted(_refreshes(lifetime_s, [chance.uniform] * size.replicas))
    window, span = (round(100 * part, 6) for part in (latest - earliest, parts[-1] - parts[0]))
    busiest = max(Counter(int(part * 100) for part in parts).values())
    return [
        _at_least("refreshes can fall on, % of the lifetime", window, 10),
        _at_least(f"{size.replicas} replicas' refreshes span, % of the lifetime", span, 9),
        _at_most("refreshes in the busiest 1 % of the lifetime", busiest, size.replicas / 5),
    ]


def secret_swaps(size: Size) -> list[Measure]:
    """The secret volume is swapped as Kubernetes does it, old directory removed, under reads."""
    with tempfile.TemporaryDirectory() as directory:
        volume = SecretVolume(Path(directory))
        read = _read_while(FileCredentials(volume.path), lambda: _swap(volume, size.swaps))
    print(f"credential reads under {size.swaps} swaps: {read.total()}", flush=True)
    return [
        _equal(f"mixed pairs over {size.swaps} swaps", read["mixed"], 0),
        _equal(f"failed reads over {size.swaps} swaps", read["failed"], 0),
    ]


def rotations(size: Size) -> list[Measure]:
    """A facade serves while its secret volume is swapped; each new pair is brought into use."""
    pairs = _Pairs()
    over = threading.Event()
    failures: list[int] = []
    with tempfile.TemporaryDirectory() as directory, TokenEndpoint() as endpoint:
        volume = SecretVolume(Path(directory))
        endpoint.always("token", pairs.answer)
        files = {"credentials_dir": directory, "credentials_poll_s": 0.005}
        with _facade(endpoint, key_pair=files) as stub:

            def load() -> None:
                while not over.is_set():
                    failures.append(_failed_rpcs(stub, 4))

            loads = [threading.Thread(target=load) for _ in range(4)]
            for thread in loads:
                thread.start()
            used = 0
            for _ in range(size.swaps):
                volume.swap()
                used += pairs.wait_for(volume.number)
            over.set()
            for thread in loads:
                thread.join()
    print(f"RPCs under {size.swaps} rotations: {4 * len(failures)}", flush=True)
    return [
        _equal("rotations: pairs brought into use", used, size.swaps),
        _equal("rotations: mixed pairs at the token endpoint", pairs.mixed, 0),
        _equal("rotations: failed RPCs", sum(failures), 0),
    ]


def side_by_side(size: Size) -> list[Measure]:
    """The herd against ours and the rivals; bars are ours alone."""
    rows = token_rivals.compare(size.rival_threads, size.rival_answer_s, size.rival_failure_s)
    print(token_rivals.table(rows, size.rival_threads), flush=True)
    ours = rows[0]
    return [
        _equal("side by side: token calls on an empty cache", ours.calls_empty, 1),
        _equal("side by side: token calls at expiry", ours.calls_expired, 1),
        _equal("side by side: errors of callers", ours.errors, 0),
        _equal("side by side: token calls of a failing issuer", ours.calls_failing, 1),
    ]


def orders_of_events(size: Size) -> list[Measure]:
    """The state machine of tests/tokens, with as many random orders of events as there is time."""
    tried = 0

    class Counted(TokenStates):
        def teardown(self) -> None:
            nonlocal tried
            tried += 1
            super().teardown()

    rules = settings(max_examples=size.orders, stateful_step_count=60, deadline=None, database=None)
    violated = 0
    try:
        run_state_machine_as_test(seed(size.seed)(Counted), settings=rules)
    except Exception:  # noqa: BLE001 - hypothesis groups what it finds
        violated = 1
        traceback.print_exc()
    return [
        _equal("invariants violated by some order of events", violated, 0),
        _at_least("orders of events tried", tried, size.orders),
    ]


Family = Callable[[Size], list[Measure]]
FAMILIES: Final[tuple[Family, ...]] = (
    side_by_side,
    herds,
    rejections,
    revocations,
    outages,
    outage_without_token,
    wall_clock_steps,
    replicas,
    secret_swaps,
    rotations,
    orders_of_events,
)


class SecretVolume:
    """A Kubernetes secret volume: files are links into ``..data``, which is swapped as one.

    As the kubelet's AtomicWriter: write a new directory, point a new link at it, rename that
    over ``..data``, remove the old directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._current = self._write()
        (path / "..data").symlink_to(self._current.name)
        for name in ("api_key", "secret_key"):
            (path / name).symlink_to(Path("..data") / name)

    def swap(self) -> None:
        """Replace the pair by the next one."""
        old, self._current = self._current, self._write()
        following = self.path / "..data_tmp"
        following.symlink_to(self._current.name)
        following.replace(self.path / "..data")
        shutil.rmtree(old)

    def _write(self) -> Path:
        self.number += 1
        directory = self.path / f"..{self.number}"
        directory.mkdir()
        (directory / "api_key").write_text(f"key-{self.number}\n")
        (directory / "secret_key").write_text(f"secret-{self.number}\n")
        return directory


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


class _Pairs:
    """Issues a token for each key pair, and notes which pairs came and whether they were mixed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: set[str] = set()
        self.mixed = 0

    def answer(self, request: Received) -> dict[str, Any]:
        form = parse_qs(request.body.decode())
        key, secret = (form[name][0].split("-")[1] for name in ("client_id", "client_secret"))
        with self._changed:
            self.mixed += key != secret
            self._seen.add(key)
            number = len(self._seen)
            self._changed.notify_all()
        return {"access_token": f"24.of-pair-{key}-{number}", "expires_in": LIFETIME_S}

    def wait_for(self, number: int) -> bool:
        """Wait until that pair came and return whether it did."""
        with self._changed:
            return self._changed.wait_for(lambda: str(number) in self._seen, PATIENCE_S)


class _Switched:
    """An issuer that is asked through whatever ``ask`` is at the time; counts the requests."""

    def __init__(self, ask: Issuer) -> None:
        self.ask = ask
        self.asked = 0

    def __call__(self) -> Issued:
        self.asked += 1
        return self.ask()


_STALL: Final = Fault(kind="stall", seconds=0.3)
_OUTAGES: Final[dict[str, Any]] = {
    "refused": None,
    "timeout": _STALL,
    "500": Fault(status=500, body=b'{"error": "server_error"}'),
    "429": Fault(status=429, body=b"slow down"),
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "empty": b"",
    "cut": Fault(kind="cut", body=b'{"access_token": "24.cut", "expires_'),
    "expires_in huge": {"access_token": "24.huge", "expires_in": 10**12},
    "expires_in 0": {"access_token": "24.zero", "expires_in": 0},
    "expires_in missing": {"access_token": "24.missing"},
}


def _outage(size: Size, kind: str, answer: Any) -> tuple[int, int, int]:
    """Return token calls and caller errors during the outage, and whether it ended well."""
    clock, chance = Clock(), random.Random(size.seed)
    with TokenEndpoint() as endpoint, _closed_port() as closed_url:
        working = _issuer(endpoint.url)
        issuer = _Switched(working)
        source = TokenSource(issuer, clock=clock, chance=chance.uniform)
        first = source.get(Deadline.after(PATIENCE_S))
        clock.now_s += LIFETIME_S * limits.TOKEN_STALE_TO + 1
        endpoint.always("token", answer)
        issuer.ask = _issuer(closed_url) if kind == "refused" else working
        errors = 0
        for _ in range(size.outage_s):
            errors += _outcome(source) != first.value
            _settle()
            clock.now_s += 1
        asked = issuer.asked - 1
        endpoint.always("token", None)
        issuer.ask = working
        clock.now_s += limits.TOKEN_GATE_MAX_S * 1.2
        _outcome(source)
        _settle()
        recovered = source.state is TokenState.FRESH and _outcome(source) != first.value
    return asked, errors, int(recovered)


def _late(size: Size) -> float:
    """Return by how much the latest caller of a hanging issuer came back past its bound."""
    chance = random.Random(size.seed)
    patience_s = [chance.uniform(0.05, 8) for _ in range(size.callers)]
    numbers = iter(patience_s)
    take = threading.Lock()
    over = threading.Event()
    late_s: list[float] = []

    def get() -> None:
        with take:
            own_s = next(numbers)
        began_s = time.monotonic()
        with contextlib.suppress(ServiceError):
            source.get(Deadline.after(own_s))
        late_s.append(time.monotonic() - began_s - min(own_s, limits.TOKEN_WAIT_MAX_S))

    def hang(_: Received) -> bytes:
        over.wait(PATIENCE_S)
        return b""

    with TokenEndpoint() as endpoint:
        endpoint.always("token", hang)
        source = TokenSource(_issuer(endpoint.url))
        herd_of(size.callers, get)
        over.set()
        _settle()
    return max(late_s)


def _refreshes(lifetime_s: int, chances: Sequence[Callable[..., float]]) -> list[float]:
    """Return at what part of its token's lifetime each replica asks for the second one."""
    step_s = lifetime_s / 10_000
    parts = []
    for chance in chances:
        clock = Clock()
        began_s = clock.now_s
        asked_at_s: list[float] = []

        def issue(asked_at_s: list[float] = asked_at_s, clock: Clock = clock) -> Issued:
            asked_at_s.append(clock.now_s)
            return Issued(f"token-{len(asked_at_s)}", lifetime_s)

        source = TokenSource(issue, clock=clock, chance=chance)
        source.get(Deadline.after(PATIENCE_S))
        _settle()
        while len(asked_at_s) == 1:
            clock.now_s += step_s
            if source.state is not TokenState.FRESH:
                source.get(Deadline.after(PATIENCE_S))
                _settle()
        parts.append((asked_at_s[1] - began_s) / lifetime_s)
    return parts


def _read_while(credentials: FileCredentials, happens: Callable[[], None]) -> Counter[str]:
    """Read in four threads as long as something happens; count whole, mixed and failed reads."""
    over = threading.Event()
    counts: list[Counter[str]] = []

    def read() -> None:
        seen: Counter[str] = Counter()
        while not over.is_set():
            try:
                pair = credentials.read()
            except ServiceError:
                seen["failed"] += 1
            else:
                whole = pair.api_key.split("-")[1] == pair.secret_key.split("-")[1]
                seen["whole" if whole else "mixed"] += 1
        counts.append(seen)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    happens()
    over.set()
    for reader in readers:
        reader.join()
    return sum(counts, Counter())


def _swap(volume: SecretVolume, times: int) -> None:
    for _ in range(times):
        volume.swap()


def _read_anew(module: ModuleType) -> Any:
    """Return the module as it is when it is imported now: with the clocks as they are now."""
    spec = importlib.util.spec_from_file_location("token_read_anew", module.__file__)
    if spec is None or spec.loader is None:
        raise ImportError(module.__name__)
    anew = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {spec.name: anew}):
        spec.loader.exec_module(anew)
    return anew


@contextlib.contextmanager
def _facade(
    endpoint: TokenEndpoint, rpcs_max: int = 0, key_pair: dict[str, Any] | None = None
) -> Iterator[ProductSearchStub]:
    """Run a facade in front of the endpoint; ``rpcs_max`` lifts its bound on RPCs in flight."""
    known = {"api_key": PAIR.api_key, "secret_key": PAIR.secret_key}
    library = {"base_url": endpoint.url, "quota_qps": 0} | (key_pair or known)
    settings: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "libraries": {"default": library},
        "drain_delay_s": 0,
        "drain_grace_s": 1,
    }
    with patch.object(limits, "RPCS_IN_FLIGHT_MAX", rpcs_max or limits.RPCS_IN_FLIGHT_MAX):
        server = Server(Settings(**settings))
    server.start()
    channel = connect(f"127.0.0.1:{server.port}")
    try:
        yield ProductSearchStub(channel)
    finally:
        channel.close()
        server.stop(threading.Event())


def _failed_rpcs(stub: ProductSearchStub, calls: int) -> int:
    """Delete that many times at once and return how many failed; print why."""
    pending = [stub.DeleteImage.future(_DELETE, timeout=2 * PATIENCE_S) for _ in range(calls)]
    why: Counter[str] = Counter()
    for call in pending:
        if failure := call.exception():
            why[failure.details() if isinstance(failure, grpc.Call) else str(failure)] += 1
    for sentence, count in why.items():
        print(f"  {count} failed: {sentence}", flush=True)
    return why.total()


@contextlib.contextmanager
def _closed_port() -> Iterator[str]:
    """Hold a port that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def _issuer(url: str) -> TokenIssuer:
    return TokenIssuer(Transport(url), FixedCredentials(PAIR))


def _herd(size: Size, source: TokenSource, threads: int = 0) -> list[Outcome]:
    return herd_of(threads or size.threads, lambda: source.get(Deadline.after(PATIENCE_S)).value)


def _outcome(source: TokenSource) -> object:
    """Return the token's value or the error."""
    try:
        return source.get(Deadline.after(PATIENCE_S)).value
    except ServiceError as failure:
        return failure


def _settle() -> None:
    """Wait until no flight is under way."""
    for thread in threading.enumerate():
        if thread.name == "token":
            thread.join(PATIENCE_S)


def _served(later: Sequence[Outcome], earlier: Sequence[Outcome]) -> int:
    """Return how many of the later callers got the token of the earlier ones."""
    values = {outcome.value for outcome in earlier}
    return sum(outcome.value in values for outcome in later) if len(values) == 1 else 0


def _failed(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.error is not None for outcome in outcomes)


def _equal(name: str, value: float, bar: float) -> Measure:
    return Measure(name=name, value=value, relation="==", bar=bar)


def _at_most(name: str, value: float, bar: float) -> Measure:
    return Measure(name=name, value=value, relation="<=", bar=bar)


def _at_least(name: str, value: float, bar: float) -> Measure:
    return Measure(name=name, value=value, relation=">=", bar=bar)


def _main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", choices=("full", "small"), default="full")
    arguments.add_argument("--seed", type=int, default=FULL.seed)
    chosen = arguments.parse_args()
    # A thousand connections through a pool of 64 and every failed flight have their log line.
    logging.disable(logging.CRITICAL)
    size = FULL if chosen.size == "full" else SMALL
    return report(run(replace(size, seed=chosen.seed)))


if __name__ == "__main__":
    code = _main()
    sys.stdout.flush()
    os._exit(code)  # a thousand daemon threads of the endpoint need no farewell
