"""Bounds the open bulk streams; a silent one gives way where places are short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from productsearch_service import limits
from productsearch_service.call_context import Caller
from productsearch_service.errors import Refusal
from productsearch_service.rpc.refusals import overloaded


@dataclass(eq=False, slots=True)
class Stream:
    """An open bulk stream. ``ending`` holds the error that it has to end with early."""

    caller: Caller
    ending: asyncio.Future[Refusal] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    progress_at_s: float = field(default_factory=time.monotonic)
    is_writing: bool = False
    is_over: bool = False
    task: asyncio.Task[object] | None = field(default_factory=asyncio.current_task)

    def writes(self) -> None:
        """Note that a message goes as soon as the caller takes it."""
        self.is_writing = True

    def wrote(self) -> None:
        """Note that it went."""
        self.is_writing = False
        self.progressed()

    def progressed(self) -> None:
        """Note that a message came or went."""
        self.progress_at_s = time.monotonic()

    def end(self, error: Refusal) -> None:
        """Let the stream end with ``error`` once what it has begun is answered."""
        if not self.ending.done():
            self.ending.set_result(error)
            asyncio.get_running_loop().call_later(limits.BULK_UNREAD_S, self._cut_unread)

    def _cut_unread(self) -> None:
        """Cancel a call that has to end and whose caller takes nothing: it would stay for ever."""
        if self.is_over:
            return
        unread_s = time.monotonic() - self.progress_at_s
        if self.is_writing and unread_s >= limits.BULK_UNREAD_S and self.task is not None:
            self.task.cancel()
        else:
            asyncio.get_running_loop().call_later(limits.BULK_UNREAD_S, self._cut_unread)


class Streams:
    """The open bulk streams: a bounded number, of which nobody has all.

    Where there is no place, the stream that was silent for longest gives way, if that was longer
    than ``silence_s``: one of all where all places are taken, one of its own where a caller has its
    share.
    """

    def __init__(self, *, streams_max: int, others_share: float, silence_s: float) -> None:
        self._streams_max = streams_max
        self._others_share = others_share
        self._silence_s = silence_s
        self._open: set[Stream] = set()

    def open(self, caller: Caller) -> Stream:
        """Return a new stream; raise ServerOverloaded."""
        own = [stream for stream in self._open if stream.caller.name == caller.name]
        if len(own) >= max(1, int(self._streams_max * (1 - self._others_share / caller.share))):
            self._make_room(own, "this caller has its share of this replica's streams open")
        elif len(self._open) >= self._streams_max:
            self._make_room(self._open, "this replica has as many streams open as it may")
        stream = Stream(caller)
        self._open.add(stream)
        return stream

    def close(self, stream: Stream) -> None:
        """Give the place of a stream that has ended back."""
        stream.is_over = True
        self._open.discard(stream)

    def end_all(self, error: Refusal) -> None:
        """Let all streams end early."""
        for stream in self._open:
            stream.end(error)

    @property
    def in_flight(self) -> int:
        """Open streams."""
        return len(self._open)

    def _make_room(self, among: Collection[Stream], full: str) -> None:
        """End the one that was silent for longest; raise ServerOverloaded if none was for long."""
        silent = min(among, key=lambda stream: stream.progress_at_s)
        if time.monotonic() - silent.progress_at_s < self._silence_s:
            raise overloaded(full)
        self._open.discard(silent)
        silent.end(
            overloaded(
                f"no message came or went for {self._silence_s:g} s, and others wait for the "
                "place of this stream; open a new one for what is left"
            )
        )
