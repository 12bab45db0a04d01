"""Bounds the open bulk streams; where places are short, a silent one gives way, or one of many."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from productsearch_service import limits
from productsearch_service.call_context import Caller, end_call, this_call
from productsearch_service.errors import Refusal
from productsearch_service.rpc.refusals import overloaded


@dataclass(eq=False, slots=True)
class Stream:
    """An open bulk stream. ``ending`` holds the error that it has to end with early."""

    caller: Caller
    ending: asyncio.Future[Refusal] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    call: asyncio.Task[Any] = field(default_factory=this_call)
    opened_s: float = field(default_factory=time.monotonic)
    _begun: int = 0
    """Items that came, less those that were answered."""
    _is_answering: bool = False
    _waits_since_s: float = field(default_factory=time.monotonic)

    def came(self, *, is_item: bool) -> None:
        """Note that a message came."""
        self._begun += is_item
        self._waits_since_s = time.monotonic()

    def answers(self) -> None:
        """Note that an answer goes as soon as the caller takes it."""
        self._is_answering = True
        self._begun -= 1
        self._waits_since_s = time.monotonic()

    def answered(self) -> None:
        """Note that it went."""
        self._is_answering = False
        self._waits_since_s = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds for which nothing but its caller was waited for: 0 while an item is at work."""
        if self._begun > 0 and not self._is_answering:
            return 0.0
        return time.monotonic() - self._waits_since_s

    @property
    def unread_s(self) -> float:
        """Seconds for which its caller has not taken an answer."""
        return self.silent_s if self._is_answering else 0.0

    def end(self, error: Refusal) -> None:
        """Let the stream end with ``error`` once what it has begun is answered."""
        if not self.ending.done():
            self.ending.set_result(error)
            asyncio.get_running_loop().call_later(limits.BULK_UNREAD_S, self._cut_unread)

    def _cut_unread(self) -> None:
        """End a call that has to end and whose caller takes nothing: it would stay for ever."""
        if self.call.done():
            return
        if self.unread_s >= limits.BULK_UNREAD_S:
            end_call(self.call)
        else:
            asyncio.get_running_loop().call_later(limits.BULK_UNREAD_S, self._cut_unread)


class Streams:
    """The open bulk streams: a bounded number, of which nobody has all.

    Where there is no place, the stream that was silent for longest gives way, if that was longer
    than ``silence_s``: one of all where all places are taken, one of its own where a caller has its
    share. A stream that says a word now and then is never silent. So a caller that has no stream
    gets the place of another one if none was silent: of the caller that has the most for its share,
    the oldest, if that is open for longer than ``silence_s``.
    """

    def __init__(self, *, streams_max: int, others_share: float, silence_s: float) -> None:
        self._streams_max = streams_max
        self._others_share = others_share
        self._silence_s = silence_s
        self._open: set[Stream] = set()

    def open(self, caller: Caller) -> Stream:
        """Return the stream of the call that runs, open until its ending was taken.

        Raises ServerOverloaded.
        """
        own = [stream for stream in self._open if stream.caller.name == caller.name]
        if len(own) >= max(1, int(self._streams_max * (1 - self._others_share / caller.share))):
            self._make_room(own, "this caller has its share of this replica's streams open")
        elif len(self._open) >= self._streams_max:
            full = "this replica has as many streams open as it may"
            self._make_room(self._open, full, is_first=not own)
        stream = Stream(caller)
        self._open.add(stream)
        stream.call.add_done_callback(lambda _: self._open.discard(stream))
        return stream

    def end_all(self, error: Refusal) -> None:
        """Let all streams end early."""
        for stream in self._open:
            stream.end(error)

    @property
    def in_flight(self) -> int:
        """Open streams."""
        return len(self._open)

    def _make_room(self, among: Collection[Stream], full: str, *, is_first: bool = False) -> None:
        """End one that has to give way; raise ServerOverloaded if there is none.

        ``is_first``: the room is for a caller that has no stream.
        """
        chosen = max(among, key=lambda stream: stream.silent_s)
        why = f"no message came or went for {self._silence_s:g} s, and others wait for the place"
        if chosen.silent_s < self._silence_s:
            one_of_many = self._oldest_of_most() if is_first else None
            if one_of_many is None:
                raise overloaded(full)
            chosen, why = (
                one_of_many,
                "this caller has the most streams, and one that has none waits",
            )
        self._open.discard(chosen)
        chosen.end(overloaded(f"{why}; open a new stream for what is left"))

    def _oldest_of_most(self) -> Stream | None:
        """Return the oldest stream of the caller that has the most for its share, if it may end."""
        counts = Counter(stream.caller.name for stream in self._open)
        many = [stream for stream in self._open if counts[stream.caller.name] > 1]
        if not many:
            return None

        def order(stream: Stream) -> tuple[float, float]:
            return counts[stream.caller.name] / stream.caller.share, -stream.opened_s

        oldest = max(many, key=order)
        return oldest if time.monotonic() - oldest.opened_s >= self._silence_s else None
