"""The calls of the mixed soak: what each of a million is, and what it should come to.

Call number n of a seed and a share of cancels is always the same one. Of each hundred, five fail,
two (or fifty) are cancelled by their callers, one has an image of 3 MB, and the others are plain.
Knows nothing of processes and measures.
"""

from __future__ import annotations

import functools
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from productsearch import v1
from productsearch_service.rpc.status import CODES
from tests.fakes.swift_upstream import MARKS, SLOW
from tests.pictures import draw, encode, jpeg, noise_jpeg

BLOCK: Final = 100
CANCELS: Final = 2
"""Calls of a block that are cancelled, unless a mix has another number of them."""
_ERRORS: Final = 5
_LARGE: Final = 1
_METHODS: Final = {
    "SearchImages": 60,
    "AddImage": 20,
    "UpdateImage": 8,
    "DeleteImage": 8,
    "BatchDeleteImages": 3,
    "BulkAddImages": 1,
}
METHODS: Final = tuple(_METHODS)
_BULK_ITEMS: Final = 4
_TRANSIENT_SHARE: Final = 0.1
"""Of the errors; each is tried three times, and five in a row would open the breaker."""
_TRANSIENT: Final = ("internal", "gateway", "cut", "closed")
_FINAL: Final = {
    "SearchImages": ("unreadable", "unknown", "invalid"),
    "AddImage": ("existed", "unreadable", "unknown", "invalid"),
    "UpdateImage": ("missing", "unknown", "invalid"),
    "DeleteImage": ("missing", "invalid"),
    "BatchDeleteImages": ("missing", "invalid"),
    "BulkAddImages": ("existed", "unreadable", "invalid"),
}
_REASONS: Final = {
    "missing": "IMAGE_NOT_FOUND",
    "existed": "IMAGE_ALREADY_EXISTS",
    "unreadable": "IMAGE_UNREADABLE",
    "unknown": "UPSTREAM_PROTOCOL",
    "invalid": "FIELD_INVALID",
}
_PATIENCE_S: Final = 60.0
_CANCEL_WITHIN_S: Final = 0.1


@dataclass(frozen=True)
class Mix:
    """Which calls are made: a seed, and how many of a block are cancelled."""

    seed: int
    cancels: int = CANCELS

    @property
    def kinds(self) -> dict[str, int]:
        """Kind of call -> how many of a block are of it."""
        rest = BLOCK - _ERRORS - self.cancels - _LARGE
        return {"error": _ERRORS, "cancel": self.cancels, "large": _LARGE, "plain": rest}


@dataclass(frozen=True)
class Plan:
    """What one call is; ``fault`` is what its upstream, or its caller, does wrong."""

    number: int
    method: str
    kind: str
    fault: str = ""
    cancel_after_s: float = 0.0
    source: str = "content"

    @classmethod
    def of(cls, mix: Mix, number: int, *, calm: bool = False) -> Plan:
        """Return the plan of call ``number``; ``calm``: with no fault that is tried again."""
        chance = random.Random(mix.seed * 1_000_003 + number)
        (method,) = chance.choices(METHODS, [*_METHODS.values()])
        kind = _kinds(mix, number // BLOCK)[number % BLOCK]
        if kind == "error":
            transient = not calm and chance.random() < _TRANSIENT_SHARE
            return cls(number, method, kind, chance.choice((_FINAL[method], _TRANSIENT)[transient]))
        if kind == "cancel":
            return cls(number, method, kind, "slow", chance.uniform(0, _CANCEL_WITHIN_S))
        if kind == "large":
            return cls(number, chance.choice(("SearchImages", "AddImage")), kind)
        return cls(number, method, kind, source=chance.choice(("url", "fit", *["content"] * 18)))

    @property
    def expected(self) -> str:
        """What comes of it: OK, CANCELLED or a reason."""
        if self.kind == "cancel":
            return "CANCELLED"
        if self.fault in _TRANSIENT:
            adds = self.method in ("AddImage", "BulkAddImages")
            return "ADD_OUTCOME_UNKNOWN" if adds else "UPSTREAM_UNAVAILABLE"
        return _REASONS[self.fault] if self.fault else "OK"

    @property
    def mark(self) -> int:
        """What the upstream reads the fault from; 1: nothing."""
        return SLOW if self.fault == "slow" else MARKS.get(self.fault, 1)


@functools.lru_cache(maxsize=64)
def _kinds(mix: Mix, block: int) -> list[str]:
    """Return the kinds of a block's calls, in an order of its own."""
    kinds = [kind for kind, count in mix.kinds.items() for _ in range(count)]
    random.Random(mix.seed * 1_000_033 + block).shuffle(kinds)
    return kinds


@dataclass
class Tally:
    """What came of some calls."""

    kinds: Counter[str] = field(default_factory=Counter)
    """Kind of call, and method, -> how many came to what was expected."""
    strange: Counter[str] = field(default_factory=Counter)
    """What came to something else."""
    late_cancels: int = 0
    """Cancelled calls that had been answered before."""
    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    """Facade -> seconds of each plain unary call."""

    def add(self, other: Tally) -> None:
        """Count another tally in."""
        self.kinds += other.kinds
        self.strange += other.strange
        self.late_cancels += other.late_cancels
        for facade, seconds in other.latencies_s.items():
            self.latencies_s.setdefault(facade, []).extend(seconds)


def make(stub: v1.ProductSearchStub, facade: str, plan: Plan, tally: Tally) -> None:
    """Make one call and note what came of it."""
    request = _request(plan)
    began_s = time.perf_counter()
    try:
        outcome = _outcome(stub, plan, request)
    except grpc.RpcError as failure:
        error: Any = failure
        cancelled = error.code() is grpc.StatusCode.CANCELLED
        outcome = "CANCELLED" if cancelled else _reason(error)
    took_s = time.perf_counter() - began_s
    if plan.kind == "cancel" and outcome == "OK":
        tally.late_cancels += 1
    elif outcome != plan.expected:
        tally.strange[f"{plan.method} {plan.kind} {plan.fault}: {outcome}"] += 1
    else:
        tally.kinds[plan.kind] += 1
        tally.kinds[plan.method] += 1
        if plan.kind == "plain" and plan.method != "BulkAddImages":
            tally.latencies_s.setdefault(facade, []).append(took_s)


def slow_call(stub: v1.ProductSearchStub, number: int) -> Any:
    """Begin a search that the upstream is slow to answer; return its future."""
    plan = Plan(number, "SearchImages", "plain", "slow", source="url")
    return stub.SearchImages.future(_request(plan), timeout=_PATIENCE_S)


def fitting_call(stub: v1.ProductSearchStub, number: int) -> Any:
    """Begin a search with an image that has to be fitted; return its future."""
    plan = Plan(number, "SearchImages", "plain", source="fit")
    return stub.SearchImages.future(_request(plan), timeout=_PATIENCE_S)


def _outcome(stub: v1.ProductSearchStub, plan: Plan, request: Any) -> str:
    if plan.method == "BulkAddImages":
        call = stub.BulkAddImages(_items(plan), timeout=_PATIENCE_S)
        if plan.kind == "cancel":
            time.sleep(plan.cancel_after_s)
            call.cancel()
        return _of_stream(call)
    method = getattr(stub, plan.method)
    if plan.kind == "cancel":
        future = method.future(request, timeout=_PATIENCE_S)
        time.sleep(plan.cancel_after_s)
        future.cancel()
        try:
            future.result()
        except grpc.FutureCancelledError:
            return "CANCELLED"
        return "OK"
    answer = method(request, timeout=_PATIENCE_S)
    failed = [result.error for result in getattr(answer, "results", ()) if _has_error(result)]
    return _reason(failed[0]) if failed else "OK"


def _has_error(result: Any) -> bool:
    return isinstance(result, v1.BatchDeleteImagesResponse.Result) and result.HasField("error")


def _reason(error: Any) -> str:
    """Return the reason of an RPC's error, or of a status inside an answer, and check its code."""
    reason = v1.reason_of(error)
    code = error.code().value[0] if isinstance(error, grpc.RpcError) else error.code
    if reason is None or CODES[v1.ErrorReason.Name(reason)] != code:
        return f"undocumented {code}"
    return v1.ErrorReason.Name(reason)


def _of_stream(answers: Any) -> str:
    """Return OK, or the reason of the item that failed; each item has to be answered."""
    reasons: list[str] = []
    received = 0
    for answer in answers:
        if answer.HasField("summary"):
            received = answer.summary.received_count
        elif answer.result.HasField("error"):
            reasons.append(_reason(answer.result.error))
    if received != _BULK_ITEMS:
        return f"a summary of {received}"
    return reasons[0] if reasons else "OK"


@functools.cache
def _images() -> dict[str, bytes]:
    """Return an image of each kind that calls send."""
    return {
        "content": jpeg(0),
        "large": noise_jpeg(2_850_000)[:2_850_000],
        "fit": encode(draw(1, 200, 200), "PNG"),
    }


def _image(plan: Plan, salt: int = 0) -> v1.ImageSource:
    """Return an image that no other call has, so that no search shares another's answer."""
    if plan.source == "url":
        return v1.ImageSource(url=f"http://images.example/{plan.number}.jpg")
    file = _images()["large" if plan.kind == "large" else plan.source]
    content = file + (plan.number * 16 + salt).to_bytes(8, "big")
    return v1.ImageSource(content=content, fit=plan.source == "fit")


def _new(plan: Plan, mark: int, salt: int = 0) -> v1.NewImage:
    brief = "" if plan.fault == "invalid" and mark else f"image {plan.number}"
    return v1.NewImage(image=_image(plan, salt), brief=brief, class_id1=mark or 1)


def _items(plan: Plan) -> Iterator[v1.BulkAddImagesRequest]:
    """Yield the items of a bulk stream; the first one has the fault."""
    for number in range(_BULK_ITEMS):
        image = _new(plan, 0 if number else plan.mark, number)
        item = v1.BulkAddImagesRequest.Item(key=f"{number}", new_image=image)
        yield v1.BulkAddImagesRequest(item=item)


def _request(plan: Plan) -> Any:
    sign = "?" if plan.fault == "invalid" else f"{plan.mark},{plan.number % 2**32}"
    match plan.method:
        case "SearchImages":
            return v1.SearchImagesRequest(
                image=_image(plan),
                class_filter=v1.ClassFilter(class_id1=plan.mark),
                page_size=-1 if plan.fault == "invalid" else 10,
            )
        case "AddImage":
            return v1.AddImageRequest(new_image=_new(plan, plan.mark))
        case "UpdateImage":
            return v1.UpdateImageRequest(image_ref=v1.ImageRef(cont_sign=sign), brief="b")
        case "DeleteImage":
            return v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign=sign))
        case "BatchDeleteImages":
            return v1.BatchDeleteImagesRequest(cont_signs=[sign, "7,1"])
    return None
