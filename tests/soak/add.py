"""Adds keep their promise, and nothing hangs: `make soak-add`.

A connection to the upstream is closed, reset or stalled at every byte of an answer and of a
request's head, and at bytes spread over its body, for each RPC. Whatever breaks, what the caller
is told must be true of what the upstream's journal says: OK means carried out, UNAVAILABLE that
an add was not, and no call outlives its deadline. Then servers are killed (see crash).
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import grpc

from productsearch import v1
from productsearch.v1.errors import Failure
from productsearch_service.server import Server
from productsearch_service.settings import Settings
from tests.fakes.cutting import FOUND, Cut, CuttingUpstream, Entry, sign_of
from tests.pictures import noise_jpeg
from tests.soak import crash
from tests.soak.crash import numbered_jpeg
from tests.soak.measures import Measure, assert_kept, report

KINDS: Final = ("close", "reset", "stall")
_ENDLESS: Final = frozenset({"stall", "drip"})
_SHORT_S: Final = 0.6
_BIG_SHORT_S: Final = 2.0
"""A picture of this size has to be encoded and sent first."""
_LONG_S: Final = 5.0
_SURE_S: Final = 30.0
_LOOK_S: Final = 0.1
_AT_ONCE: Final = 24
_BIG_AT_ONCE: Final = 4
_BATCH: Final = 96
_CASES_BAR: Final = 4000
_BODY_SAMPLES: Final = 24
_DRIP_STEP: Final = 8
_BIG_BYTES: Final = 2_800_000
_ITEM_KEY: Final = "k"


@dataclass(frozen=True)
class Stage:
    """Where one case plays: a library and an upstream of its own, with one picture stored."""

    stub: v1.ProductSearchStub
    library: str
    upstream: CuttingUpstream
    fresh: bytes
    """The picture to add."""
    stored: tuple[str, str]
    """Signs that are in the library."""


@dataclass(frozen=True)
class Told:
    """What the caller was told of one sign; ``true``: whether an OK's own content is right."""

    sign: str
    failure: Failure | None = None
    true: bool = True


Play = Callable[[Stage, float], list[Told]]


@dataclass(frozen=True)
class Rpc:
    """An RPC, the upstream's method behind it, and how to call it within some seconds."""

    name: str
    method: str
    play: Play


@dataclass(frozen=True)
class Case:
    """One RPC and one broken connection."""

    rpc: Rpc
    cut: Cut
    big: bool = False

    @property
    def patience_s(self) -> float:
        """The caller's deadline: short where only the deadline ends a call."""
        if self.cut.kind not in _ENDLESS:
            return _LONG_S
        return _BIG_SHORT_S if self.big else _SHORT_S


@dataclass(frozen=True)
class Size:
    """How much is tried; ``cases`` None means every one that there is."""

    cases: int | None
    crash: crash.Size
    hang_s: float
    """How long after its deadline a call is said to hang."""
    seed: int = 20240611


FULL: Final = Size(None, crash.FULL, hang_s=1.0)
# Longer: a machine that runs all tests at once may leave a thread waiting for a second.
SMALL: Final = Size(300, crash.SMALL, hang_s=3.0)


def _item(picture: bytes) -> v1.NewImage:
    return v1.NewImage(image=v1.ImageSource(content=picture), brief="b")


def _add(stage: Stage, patience_s: float) -> list[Told]:
    request = v1.AddImageRequest(library=stage.library, new_image=_item(stage.fresh))
    reply = stage.stub.AddImage(request, timeout=patience_s)
    return [Told(sign_of(stage.fresh), true=_is_added(reply, stage))]


def _bulk_add(stage: Stage, patience_s: float) -> list[Told]:
    part = v1.BulkAddImagesRequest
    parts = [
        part(settings=part.Settings(library=stage.library)),
        part(item=part.Item(key=_ITEM_KEY, new_image=_item(stage.fresh))),
    ]
    first, last = stage.stub.BulkAddImages(iter(parts), timeout=patience_s)
    result, sign = first.result, sign_of(stage.fresh)
    if result.HasField("error"):
        return [Told(sign, result.error, last.summary.failed_count == 1)]
    true = _is_added(result.added, stage) and last.summary.added_count == 1
    return [Told(sign, true=true and result.key == _ITEM_KEY)]


def _is_added(reply: v1.AddImageResponse, stage: Stage) -> bool:
    created = v1.AddOutcome.ADD_OUTCOME_CREATED
    return reply.outcome == created and reply.cont_sign == sign_of(stage.fresh)


def _search(stage: Stage, patience_s: float) -> list[Told]:
    picture = v1.ImageSource(content=numbered_jpeg(1))
    request = v1.SearchImagesRequest(library=stage.library, image=picture)
    results = stage.stub.SearchImages(request, timeout=patience_s).results
    signs = [result.cont_sign for result in results]
    return [Told("", true=signs == [FOUND["cont_sign"]])]


def _update(stage: Stage, patience_s: float) -> list[Told]:
    sign = stage.stored[0]
    request = v1.UpdateImageRequest(library=stage.library, brief="new", image_ref=_ref(sign))
    stage.stub.UpdateImage(request, timeout=patience_s)
    return [Told(sign, true=stage.upstream.stored[sign] == "new")]


def _delete(stage: Stage, patience_s: float) -> list[Told]:
    sign = stage.stored[0]
    request = v1.DeleteImageRequest(library=stage.library, image_ref=_ref(sign))
    stage.stub.DeleteImage(request, timeout=patience_s)
    return [Told(sign, true=sign not in stage.upstream.stored)]


def _delete_both(stage: Stage, patience_s: float) -> list[Told]:
    request = v1.BatchDeleteImagesRequest(library=stage.library, cont_signs=stage.stored)
    reply = stage.stub.BatchDeleteImages(request, timeout=patience_s)
    return [
        Told(result.cont_sign, result.error)
        if result.HasField("error")
        else Told(result.cont_sign, true=result.cont_sign not in stage.upstream.stored)
        for result in reply.results
    ]


def _ref(sign: str) -> v1.ImageRef:
    return v1.ImageRef(cont_sign=sign)


RPCS: Final = (
    Rpc("AddImage", "add", _add),
    Rpc("SearchImages", "search", _search),
    Rpc("UpdateImage", "update", _update),
    Rpc("DeleteImage", "delete", _delete),
    Rpc("BatchDeleteImages", "delete", _delete_both),
    Rpc("BulkAddImages", "add", _bulk_add),
)
_FULL: Final = ("RESOURCE_EXHAUSTED", "SERVER_OVERLOADED")
TOKEN: Final = Rpc("AddImage without a token", "token", _add)
"""The library's first call: the connection that breaks is the token request's."""


def play(case: Case, stage: Stage) -> tuple[list[Told], float]:
    """Play a case; return what the caller was told and how many seconds it took.

    A facade that has too many bulk streams at the moment refuses one; that is not the case yet.
    """
    if case.rpc.method != "token":
        _search(stage, _SURE_S)  # the token is there, and the connection is a used one
    stage.upstream.arm(case.cut)
    gives_up_s = time.monotonic() + _SURE_S
    while True:
        began_s = time.monotonic()
        try:
            told = case.rpc.play(stage, case.patience_s)
        except grpc.RpcError as failure:
            if words_of(failure) == _FULL and time.monotonic() < gives_up_s:
                time.sleep(v1.retry_delay_of(failure) or _LONG_S)
                continue
            about = sign_of(stage.fresh) if case.rpc.play in (_add, _bulk_add) else stage.stored[0]
            told = [Told(about, failure)]
        return told, time.monotonic() - began_s


def complaint(case: Case, stage: Stage, told: Told) -> str:
    """Return what is wrong with what the caller was told; nothing if it keeps the table."""
    adds = case.rpc.play in (_add, _bulk_add)
    method = "add" if adds else case.rpc.method
    done = stage.upstream.times(method, told.sign)
    if not told.true:
        return "what it answered is not so"
    if told.failure is None:
        return "" if done or method == "search" else "OK, but it was not carried out"
    code, reason = words_of(told.failure)
    waiting_helps = v1.retry_delay_of(told.failure) is not None
    if is_own_deadline(told.failure):
        return "" if case.cut.kind in _ENDLESS else "no answer within the deadline"
    if (code, reason) == ("UNKNOWN", "ADD_OUTCOME_UNKNOWN") and not waiting_helps:
        reached = any(_may_be_an_add(case, entry) for entry in stage.upstream.journal)
        return "" if adds and reached else f"{reason} though nothing was sent"
    if (code, reason) == ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE") and waiting_helps:
        return f"{code}, but the add was carried out" if adds and done else ""
    if reason == "DEADLINE_TOO_SHORT" and not any(entry.cut for entry in stage.upstream.journal):
        return ""  # no call was begun, as the reason says
    return f"{code} {reason} is not in the table"


def _may_be_an_add(case: Case, entry: Entry) -> bool:
    """Whether an entry of the journal lets an add be begun, read or not."""
    if case.rpc is not TOKEN:
        # A request of which too little arrived to tell its method has none.
        return entry.method in ("add", "")
    token_was_whole = entry.method == "token" and case.cut.at >= entry.answer_bytes
    return entry.method == "add" or (case.cut.side == "answer" and token_was_whole)


def words_of(failure: Failure) -> tuple[str, str]:
    """Return the names of a failure's code and reason."""
    reason = v1.reason_of(failure)
    name = "" if reason is None else v1.ErrorReason.Name(reason)
    if isinstance(failure, grpc.RpcError):
        return failure.code().name, name
    return next(code.name for code in grpc.StatusCode if code.value[0] == failure.code), name


def is_own_deadline(failure: Failure) -> bool:
    """Whether the caller's own clock ended the call: no answer was there in time."""
    return words_of(failure) == ("DEADLINE_EXCEEDED", "")


def still_answers(case: Case, stage: Stage, well: Stage) -> bool:
    """Whether the facade serves on; a breaker or a token's gate may close the case's library."""
    try:
        _search(well, _SURE_S)
        # A token request that is not answered has longer than any call; calls wait for it.
        if (case.rpc, case.cut.kind) != (TOKEN, "stall"):
            _search(stage, _SURE_S)
    except grpc.RpcError as failure:
        on_hold = ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE")
        if words_of(failure) != on_hold or v1.retry_delay_of(failure) is None:
            print(f"{case.rpc.name}, {case.cut}: then {words_of(failure)}")
            return False
    return True


@contextmanager
def stages(count: int, big: bool = False) -> Iterator[list[Stage]]:
    """Open a facade with ``count`` libraries, each with an upstream of its own."""
    with ExitStack() as open_:
        upstreams = [open_.enter_context(CuttingUpstream()) for _ in range(count)]
        libraries: dict[str, Any] = {
            f"library-{number}": {
                "base_url": upstream.url,
                "api_key": "the-api-key",
                "secret_key": "the-secret-key",
                "quota_qps": 0,
            }
            for number, upstream in enumerate(upstreams)
        }
        server = Server(
            Settings(
                listen="127.0.0.1:0",
                default_library="library-0",
                libraries=libraries,
                drain_delay_s=0,
                drain_grace_s=1,
            )
        )
        server.start()
        open_.callback(server.stop, threading.Event())
        channel = open_.enter_context(v1.connect(f"127.0.0.1:{server.port}"))
        stub = v1.ProductSearchStub(channel)
        fresh = noise_jpeg(_BIG_BYTES) if big else numbered_jpeg(0)
        stored = (sign_of(b"one"), sign_of(b"two"))
        for upstream in upstreams:
            upstream.stored.update(dict.fromkeys(stored, "old"))
        pairs = zip(libraries, upstreams, strict=True)
        yield [Stage(stub, name, upstream, fresh, stored) for name, upstream in pairs]


def every_case() -> list[Case]:
    """Return a case for each kind of break at each byte; the sizes are measured first."""
    cases: list[Case] = []
    for rpc in (*RPCS, TOKEN):
        head, body, answer = sizes(rpc)
        step = max(1, body // _BODY_SAMPLES)
        for kind in KINDS:
            at_request = [*range(head), *range(head, head + body, step)]
            cuts = [Cut(side="request", at=at, kind=kind) for at in at_request]
            cuts += [Cut(side="answer", at=at, kind=kind) for at in range(answer + 1)]
            # Broken once, the next attempt can settle it; broken for good, nothing can.
            lasts = KINDS.index(kind)
            cases += [Case(rpc, replace(cut, lasting=(cut.at + lasts) % 2 == 0)) for cut in cuts]
            if rpc.method == "add":
                spread = range(head, _BIG_BYTES, _BIG_BYTES // _BODY_SAMPLES)
                big = [Cut(side="request", at=at, kind=kind) for at in spread]
                cases += [Case(rpc, cut, big=True) for cut in big]
        drips = range(0, answer, _DRIP_STEP)
        cases += [Case(rpc, Cut(side="answer", at=at, kind="drip")) for at in drips]
    return cases


def sizes(rpc: Rpc) -> tuple[int, int, int]:
    """Return the bytes of an RPC's request head, request body and answer."""
    with stages(1) as (stage,):
        rpc.play(stage, _LONG_S)
        entry = next(e for e in stage.upstream.journal if e.method == rpc.method)
        return entry.head_bytes, entry.body_bytes, entry.answer_bytes


@dataclass
class Tally:
    """What the cases came to."""

    cases: int = 0
    hangs: int = 0
    unanswering: int = 0
    settled: int = 0
    """Adds whose first answer was lost and that ended with OK."""
    own_deadline: int = 0
    complaints: Counter[str] = field(default_factory=Counter)

    def measures(self, cases_bar: float) -> list[Measure]:
        """Return the lines of the report."""
        broken = self.complaints.total()
        return [
            Measure(name="cases", value=self.cases, relation=">=", bar=cases_bar),
            Measure(name="outcome table broken", value=broken, relation="==", bar=0),
            Measure(name="hangs", value=self.hangs, relation="==", bar=0),
            Measure(
                name="facade silent after a case", value=self.unanswering, relation="==", bar=0
            ),
        ]


def play_all(cases: Sequence[Case], hang_s: float) -> Tally:
    """Play cases in batches, each batch with a facade of its own."""
    tally = Tally()
    alike: dict[tuple[bool, float], list[Case]] = defaultdict(list)
    for case in cases:
        alike[case.big, case.patience_s].append(case)
    for (big, patience_s), group in alike.items():
        for start in range(0, len(group), _BATCH):
            _play_batch(group[start : start + _BATCH], tally, patience_s + hang_s, big)
    print(f"left to the caller's own deadline: {tally.own_deadline}")
    for what, times in sorted(tally.complaints.items()):
        print(f"broken {times} times: {what}")
    return tally


def assert_table_kept(cases: Sequence[Case]) -> None:
    """Play cases and fail if what a caller was told is not in the outcome table, or late."""
    tally = play_all(cases, SMALL.hang_s)
    assert_kept(tally.measures(len(cases)))


def _play_batch(batch: Sequence[Case], tally: Tally, at_most_s: float, big: bool) -> None:
    at_once = _BIG_AT_ONCE if big else _AT_ONCE
    with stages(len(batch) + 1, big) as (well, *own), ThreadPoolExecutor(at_once) as pool:
        with AccessLog() as log:
            played = list(pool.map(play, batch, own))
            lines = [1 if case.rpc is TOKEN else 2 for case in batch]
            names = [stage.library for stage in own]
            tally.hangs += log.hung(dict(zip(names, lines, strict=True)), at_most_s)
        # Not before: it closes the connections that are stalled, and would end a hang.
        for stage in own:
            stage.upstream.disarm()
        answering = list(pool.map(still_answers, batch, own, [well] * len(own)))
        for case, stage, (told, took_s) in zip(batch, own, played, strict=True):
            tally.cases += 1
            tally.hangs += took_s > at_most_s
            for each in told:
                _judge(case, stage, each, tally)
    tally.unanswering += answering.count(False)


def _judge(case: Case, stage: Stage, told: Told, tally: Tally) -> None:
    if told.failure is not None and is_own_deadline(told.failure):
        tally.own_deadline += 1
    if told.failure is None and any(entry.code == 216681 for entry in stage.upstream.journal):
        tally.settled += 1
    wrong = complaint(case, stage, told)
    if wrong:
        cut = case.cut
        size = "big " if case.big else ""
        lasting = "lasting " if cut.lasting else ""
        where = f"{case.rpc.name}, {size}{cut.side}, {lasting}{cut.kind}: {wrong}"
        tally.complaints[where] += 1


class AccessLog(logging.Handler):
    """The facade's own word on when each RPC ended.

    grpc ends a caller's wait at its deadline whatever the facade does. Only the facade knows
    that it goes on working for nobody, and it writes a line at an RPC's end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logger = logging.getLogger("productsearch.access")
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> AccessLog:
        self._before = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        line = dict(word.split("=", 1) for word in record.getMessage().split())
        if line["reason"] != _FULL[1]:
            self._seconds[line["library"]].append(float(line["ms"]) / 1000)

    def hung(self, lines_due: Mapping[str, int], at_most_s: float) -> int:
        """Return how many libraries' last RPC took longer than that, or still does.

        Call it when the callers have their answers: what is under way then is late.
        """
        ends_s = time.monotonic() + at_most_s
        while self._missing(lines_due) and time.monotonic() < ends_s:
            time.sleep(_LOOK_S)
        missing = self._missing(lines_due)
        for library in missing:
            print(f"still under way after {at_most_s} s: an RPC of {library}")
        ended = [self._seconds[library][-1] for library in lines_due if library not in missing]
        return len(missing) + sum(seconds > at_most_s for seconds in ended)

    def _missing(self, lines_due: Mapping[str, int]) -> list[str]:
        return [name for name, lines in lines_due.items() if len(self._seconds[name]) < lines]


def run(size: Size) -> list[Measure]:
    """Play the cases, then kill servers."""
    print(f"seed: {size.seed}")
    cases = every_case()
    if size.cases is not None:
        cases = random.Random(size.seed).sample(cases, size.cases)
    tally = play_all(cases, size.hang_s)
    measures = tally.measures(size.cases or _CASES_BAR)
    # Else no cut hit the moment after an add was carried out.
    settled = Measure(
        name="lost answers of adds settled", value=tally.settled, relation=">=", bar=1
    )
    return [*measures, settled, *crash.run(size.crash, size.seed)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--seed", type=int, default=FULL.seed)
    arguments = parser.parse_args()
    chosen = FULL if arguments.size == "full" else SMALL
    sys.exit(report(run(replace(chosen, seed=arguments.seed))))
