"""Every way in which a connection breaks under an RPC, at every byte, and how it is played."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

import grpc

from productsearch import v1
from tests.fakes.cutting import Cut, sign_of
from tests.soak.cut_calls import (
    RPCS,
    TOKEN,
    Rpc,
    Told,
    add_fresh,
    bulk_add_fresh,
    search_once,
    words_of,
)
from tests.soak.cut_stage import BIG_BYTES, Stage, stages

KINDS: Final = ("close", "reset", "stall")
ENDLESS: Final = frozenset({"stall", "drip"})
_SHORT_S: Final = 0.6
_BIG_SHORT_S: Final = 2.0
"""An image of this size has to be encoded and sent first."""
_LONG_S: Final = 5.0
_SURE_S: Final = 30.0
_BODY_SAMPLES: Final = 24
_DRIP_STEP: Final = 8


@dataclass(frozen=True)
class Case:
    """One RPC and one broken connection."""

    rpc: Rpc
    cut: Cut
    big: bool = False

    @property
    def patience_s(self) -> float:
        """The caller's deadline: short where only the deadline ends a call."""
        if self.cut.kind not in ENDLESS:
            return _LONG_S
        return _BIG_SHORT_S if self.big else _SHORT_S


AT_ITS_BOUND: Final = ("RESOURCE_EXHAUSTED", "SERVER_OVERLOADED")


def play(case: Case, stage: Stage) -> tuple[list[Told], float]:
    """Play a case; return what the caller was told and how many seconds it took.

    A facade that has too many bulk streams at the moment refuses one; that is not the case yet.
    """
    if case.rpc.method != "token":
        search_once(stage, _SURE_S)  # the token is there, and the connection is a used one
    stage.upstream.arm(case.cut)
    gives_up_s = time.monotonic() + _SURE_S
    while True:
        began_s = time.monotonic()
        try:
            told = case.rpc.play(stage, case.patience_s)
        except grpc.RpcError as failure:
            if words_of(failure) == AT_ITS_BOUND and time.monotonic() < gives_up_s:
                time.sleep(v1.retry_delay_of(failure) or _LONG_S)
                continue
            about = (
                sign_of(stage.fresh)
                if case.rpc.play in (add_fresh, bulk_add_fresh)
                else stage.stored[0]
            )
            told = [Told(about, failure)]
        return told, time.monotonic() - began_s


def still_answers(case: Case, stage: Stage, well: Stage) -> bool:
    """Whether the facade serves on; a breaker or a token's gate may close the case's library."""
    try:
        search_once(well, _SURE_S)
        # A token request that is not answered has longer than any call; calls wait for it.
        if (case.rpc, case.cut.kind) != (TOKEN, "stall"):
            search_once(stage, _SURE_S)
    except grpc.RpcError as failure:
        on_hold = ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE")
        if words_of(failure) != on_hold or v1.retry_delay_of(failure) is None:
            print(f"{case.rpc.name}, {case.cut}: then {words_of(failure)}")
            return False
    return True


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
                spread = range(head, BIG_BYTES, BIG_BYTES // _BODY_SAMPLES)
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
