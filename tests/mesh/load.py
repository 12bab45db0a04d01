"""Callers: a steady stream of unary calls, and bulk streams that resend what got no answer.

They retry nothing that this module does not say: what fails here failed for a caller.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import grpc

from productsearch import v1
from tests.pictures import numbered_jpeg

# The client's own retries would hide what the gateway lets through.
NO_RETRIES: Final = ("grpc.enable_retries", 0)

DEADLINE_S: Final = 8.0
"""Enough for a machine that is not starved."""
_BEHIND_MAX_S: Final = 0.5
"""A sender that could not run for longer does not send all at once what it missed."""
_STREAM_ITEMS: Final = 100
_ADD_EVERY: Final = 5
_LAST_STREAMS: Final = 10
_AFTER_FAILURE_S: Final = 0.1
_END_S: Final = 60.0
_numbers = itertools.count(1)


class Unary:
    """Calls at ``per_second``, whatever becomes of those before: one add to four searches.

    A call that is refused for now is made again after the time that the refusal names, as its
    RetryInfo asks, and counts in ``refused``. ``ended`` counts the codes that calls came to;
    ``failures`` has the texts. A context manager that waits for the last.
    """

    def __init__(
        self, channel: grpc.Channel, per_second: float, deadline_s: float = DEADLINE_S
    ) -> None:
        self._stub = v1.ProductSearchStub(channel)
        self._interval_s = 1 / per_second
        self._deadline_s = deadline_s
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.begun = self.refused = 0
        self._thread = threading.Thread(target=self._call, daemon=True)
        self.ended: Counter[str] = Counter()
        self.failures: list[tuple[float, str]] = []
        """When the call began, on the monotonic clock, and what became of it."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        with self._changed:
            self._changed.wait_for(lambda: self.ended.total() == self.begun, _END_S)

    @property
    def failed(self) -> int:
        """Calls that did not end with OK, those without an end included."""
        with self._changed:
            return self.begun - self.ended["OK"]

    def _call(self) -> None:
        next_s = time.monotonic()
        while not self._stop.wait(max(0.0, next_s - time.monotonic())):
            next_s = max(next_s + self._interval_s, time.monotonic() - _BEHIND_MAX_S)
            number = next(_numbers)
            image = v1.ImageSource(content=numbered_jpeg(number))
            make: Callable[[], Any]
            if number % _ADD_EVERY:
                make = partial(
                    self._stub.SearchImages.future,
                    v1.SearchImagesRequest(image=image),
                    timeout=self._deadline_s,
                )
            else:
                new_image = v1.NewImage(image=image, brief=str(number))
                make = partial(
                    self._stub.AddImage.future,
                    v1.AddImageRequest(new_image=new_image),
                    timeout=self._deadline_s,
                )
            with self._changed:
                self.begun += 1
            self._make(make)

    def _make(self, make: Callable[[], Any]) -> None:
        make().add_done_callback(partial(self._note, time.monotonic(), make))

    def _note(self, begun_s: float, make: Callable[[], Any], call: Any) -> None:
        wait_s = _refused_for_s(call)
        with self._changed:
            if wait_s is not None:
                self.refused += 1
            else:
                self.ended[call.code().name] += 1
                if call.code() != grpc.StatusCode.OK:
                    self.failures.append((begun_s, f"{call.code().name}: {call.details()}"))
                self._changed.notify_all()
        if wait_s is not None:
            threading.Timer(wait_s, self._make, (make,)).start()


def _refused_for_s(call: Any) -> float | None:
    """Return how long to wait where the replica has no place for the call; else None."""
    if call.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    return v1.retry_delay_of(call)


class Bulk:
    """Bulk streams one after the other, with ``per_second`` items.

    A stream that a replica ends because it stops is what callers are told to expect: its items
    without a result go into the next one, with KEEP. Anything else is a failure.
    """

    def __init__(self, channel: grpc.Channel, per_second: float) -> None:
        self._stub = v1.ProductSearchStub(channel)
        self._interval_s = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._waiting: dict[str, v1.BulkAddImagesRequest] = {}
        self.signs: dict[str, str] = {}
        """What each item was acknowledged with."""
        self.items = 0
        self.streams = self.drained = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_END_S)

    def lost(self, stored: Any) -> int:
        """Return how many items were not acknowledged, or are not among the ``stored`` signs."""
        return self.items - sum(sign in stored for sign in self.signs.values())

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stream()
        for _ in range(_LAST_STREAMS):
            if self._waiting:
                self._stream()

    def _stream(self) -> None:
        self.streams += 1
        over = threading.Event()
        try:
            for answer in self._stub.BulkAddImages(self._parts(list(self._waiting.values()), over)):
                if answer.HasField("result"):
                    self._note(answer.result)
        except grpc.RpcError as failure:
            if v1.reason_of(failure) == v1.ErrorReason.SERVER_DRAINING:
                self.drained += 1
            else:
                self.failures.append(f"{failure.code().name}: {failure.details()}")
                time.sleep(_AFTER_FAILURE_S)
        finally:
            over.set()

    def _note(self, result: Any) -> None:
        if result.HasField("added"):
            self.signs[result.key] = result.added.cont_sign
            self._waiting.pop(result.key, None)
        else:
            self.failures.append(f"item {result.key}: {result.error.message}")

    def _parts(
        self, again: list[v1.BulkAddImagesRequest], over: threading.Event
    ) -> Iterator[v1.BulkAddImagesRequest]:
        keep = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
        yield v1.BulkAddImagesRequest(
            settings=v1.BulkAddImagesRequest.Settings(duplicate_policy=keep)
        )
        yield from again
        for _ in range(_STREAM_ITEMS):
            if self._stop.is_set() or over.wait(self._interval_s):
                return
            number = next(_numbers)
            image = numbered_jpeg(number)
            item = v1.BulkAddImagesRequest(
                item=v1.BulkAddImagesRequest.Item(
                    key=str(number),
                    new_image=v1.NewImage(image=v1.ImageSource(content=image), brief=str(number)),
                )
            )
            self._waiting[str(number)] = item
            self.items += 1
            yield item
