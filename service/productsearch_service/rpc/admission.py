"""Bounds what one replica has under way, in all and for each caller.

In the order of a call's way: while its message is received, while it is carried out, and for a bulk
stream as long as it is open. Nobody has all places of one kind alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

from productsearch_service import limits
from productsearch_service.call_context import Caller
from productsearch_service.errors import Refusal, ServerOverloaded
from productsearch_service.rpc.bystanders import Bystanders
from productsearch_service.rpc.messages import Messages, stopping
from productsearch_service.rpc.turns import Turns


class Places:
    """Counts calls that are carried out, and the bytes of their requests.

    Who is over a limit is rejected immediately. A caller alone may hold all places; once others
    are there, it must leave them a part: ``others_share`` of the places, divided by its own share.
    """

    def __init__(self, *, calls_max: int, bytes_max: int, others_share: float) -> None:
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._others_share = others_share
        self._calls: Counter[str] = Counter()
        self._total = 0
        self._bytes = 0

    def held(self, caller: Caller, size_bytes: int) -> _Held:
        """Hold a place for one call with a request of ``size_bytes``; raise ServerOverloaded."""
        return _Held(self, caller, size_bytes)

    @property
    def in_flight(self) -> tuple[int, int]:
        """Calls and their bytes."""
        return self._total, self._bytes

    def take(self, caller: Caller, size_bytes: int) -> None:
        """Take a place; raise ServerOverloaded."""
        full = self._full(caller, size_bytes)
        if full:
            raise ServerOverloaded(full, retry_after_s=limits.OVERLOAD_RETRY_S)
        self._calls[caller.name] += 1
        self._total += 1
        self._bytes += size_bytes

    def give(self, caller: Caller, size_bytes: int) -> None:
        """Give a place back."""
        self._bytes -= size_bytes
        self._total -= 1
        self._calls[caller.name] -= 1
        if not self._calls[caller.name]:
            del self._calls[caller.name]

    def _full(self, caller: Caller, size_bytes: int) -> str:
        """Return what is full, or nothing."""
        if self._total >= self._calls_max:
            return "this replica has as many calls under way as it may"
        if self._bytes + size_bytes > self._bytes_max:
            return "this replica holds as many bytes as it may"
        own = self._calls[caller.name]
        own_max = max(1, int(self._calls_max * (1 - self._others_share / caller.share)))
        if own_max <= own < self._total:
            return "this caller has its share of this replica's calls under way"
        return ""


@dataclass(slots=True)
class _Held:
    """A place while a call is carried out; a context."""

    places: Places
    caller: Caller
    size_bytes: int

    def __enter__(self) -> None:
        self.places.take(self.caller, self.size_bytes)

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.places.give(self.caller, self.size_bytes)


@dataclass(eq=False, slots=True)
class Stream:
    """An open bulk stream. ``ending`` holds the error that it has to end with early."""

    caller: Caller
    ending: asyncio.Future[Refusal] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    progress_at_s: float = field(default_factory=time.monotonic)

    def progressed(self) -> None:
        """Note that a message came or went."""
        self.progress_at_s = time.monotonic()

    def end(self, error: Refusal) -> None:
        """Let the stream end with ``error`` once what it has begun is answered."""
        if not self.ending.done():
            self.ending.set_result(error)


class Streams:
    """The open bulk streams: a bounded number, of which nobody has all.

    Where there is no place, the stream that was silent for longest gives way, if that was longer
    than ``silence_s``.
    """

    def __init__(self, *, streams_max: int, others_share: float, silence_s: float) -> None:
        self._streams_max = streams_max
        self._others_share = others_share
        self._silence_s = silence_s
        self._open: set[Stream] = set()

    def open(self, caller: Caller) -> Stream:
        """Return a new stream; raise ServerOverloaded."""
        if full := self._full(caller):
            silent = min(self._open, key=lambda stream: stream.progress_at_s)
            if time.monotonic() - silent.progress_at_s < self._silence_s:
                raise ServerOverloaded(full, retry_after_s=limits.OVERLOAD_RETRY_S)
            self.close(silent)
            silent.end(
                ServerOverloaded(
                    f"no message came or went for {self._silence_s:.0f} s, and others wait for the "
                    "place of this stream; open a new one for what is left",
                    retry_after_s=limits.OVERLOAD_RETRY_S,
                )
            )
        stream = Stream(caller)
        self._open.add(stream)
        return stream

    def close(self, stream: Stream) -> None:
        """Give a stream's place back."""
        self._open.discard(stream)

    def end_all(self, error: Refusal) -> None:
        """Let all streams end early."""
        for stream in self._open:
            stream.end(error)

    @property
    def in_flight(self) -> int:
        """Open streams."""
        return len(self._open)

    def _full(self, caller: Caller) -> str:
        """Return what is full, or nothing."""
        if len(self._open) >= self._streams_max:
            return "this replica has as many streams open as it may"
        own = sum(stream.caller.name == caller.name for stream in self._open)
        if own >= max(1, int(self._streams_max * (1 - self._others_share / caller.share))):
            return "this caller has its share of this replica's streams open"
        return ""


class Admission:
    """The places of all kinds, until the replica is about to stop."""

    def __init__(self, *, stream_silence_s: float = limits.BULK_SILENCE_S) -> None:
        self.receiving = Turns(limits.RECEIVING_MAX, waiting_max=limits.WAITING_MAX)
        self.messages = Messages(self.receiving)
        self.unary = Places(
            calls_max=limits.RPCS_IN_FLIGHT_MAX,
            bytes_max=limits.BYTES_IN_FLIGHT_MAX,
            others_share=limits.OTHERS_SHARE,
        )
        self.streams = Streams(
            streams_max=limits.BULK_STREAMS_MAX,
            others_share=limits.OTHERS_SHARE,
            silence_s=stream_silence_s,
        )
        self.items = Turns(
            limits.BULK_ITEMS_MAX, waiting_max=limits.WAITING_MAX, bytes_max=limits.BULK_BYTES_MAX
        )
        self.bystanders = Bystanders()
        self._draining = False

    def drain(self) -> None:
        """Refuse every call from now on, and let open bulk streams end early."""
        self._draining = True
        self.streams.end_all(stopping())

    def end_silent(self) -> None:
        """End the calls whose request has not come, and those of health and reflection."""
        self.messages.end_all()
        self.bystanders.end_all()

    def check(self) -> None:
        """Raise ServerDraining if the replica is about to stop."""
        if self._draining:
            raise stopping()
