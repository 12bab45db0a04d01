"""Runs an import: the source is read a little ahead of the calls, and each outcome is journalled.

Several entries are under way at once. How fast they are answered is all that sets the pace.
"""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.failures import Failure
from productsearch.cli.importing.advice import Noticed
from productsearch.cli.importing.deciding import Known, Work, decide, look_of, settled
from productsearch.cli.importing.pace import Pace, Stopped
from productsearch.cli.importing.recorder import Recorder
from productsearch.cli.importing.sender import Sender
from productsearch.cli.importing.tally import Tally
from productsearch.cli.journal import KEPT, REJECTED, SENT, JournalError, Row
from productsearch.cli.sources.entry import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.journal import Journal
    from productsearch.cli.sources import Entry, Source

_LOOKED_AT_MAX: Final = 2000
"""Entries that are looked up before those that are left among them are handed on."""
_CHUNK: Final = 16


class Importer:
    """One run over one source. ``on_row`` is told of each outcome, on the event loop."""

    def __init__(
        self,
        stub: Any,
        source: Source,
        journal: Journal,
        settings: Settings,
        on_row: Callable[[Row], None],
    ) -> None:
        self.tally = Tally()
        self.noticed = Noticed()
        self.pace = Pace(settings.patience_s)
        self.rejected_keys: list[str] = []
        """Keys of the entries that are rejected, in this run or before."""
        self.same_image: list[tuple[str, str, bool]] = []
        """Keys of two entries with the same image, and whether the first one's brief is stored."""
        self.complete = False
        """Whether the whole source was dealt with."""
        self._source = source
        self._journal = journal
        self._settings = settings
        self._on_row = on_row
        self._sender = Sender(stub, settings, self.pace, self.tally)
        self._recorder = Recorder(journal)
        self._entries: Iterator[Entry] = unique(source.entries())
        self._queue: asyncio.Queue[Entry | None] = asyncio.Queue(settings.at_once)
        self._failure: Failure | None = None
        self._under_way: weakref.WeakValueDictionary[str, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    async def run(self) -> None:
        """Deal with the whole source, or as far as it goes. Raises Failure, SourceError."""
        workers = [
            asyncio.create_task(self._work(), name=f"import-{number}")
            for number in range(self._settings.at_once)
        ]
        reader = asyncio.create_task(self._read(), name="import-read")
        limit = self._settings.time_limit_s
        timer = asyncio.get_running_loop().call_later(limit, self._out_of_time) if limit else None
        try:
            await asyncio.gather(reader, *workers)
        finally:
            if timer is not None:
                timer.cancel()
            for task in (reader, *workers):
                task.cancel()
            await asyncio.gather(reader, *workers, return_exceptions=True)
            await self._recorder.close()
        if self._failure is not None:
            raise self._failure
        self.complete = not self.pace.stopped

    def _out_of_time(self) -> None:
        self._end(
            Failure(
                "the time limit is reached",
                code=ExitCode.GO_ON_LATER,
                next_step="run the same command; it goes on",
                reason="TIME_LIMIT",
            )
        )

    def _end(self, failure: Failure) -> None:
        self._failure = self._failure or failure
        self.pace.stop()

    async def _read(self) -> None:
        """Hand on the entries that are left, only as fast as they are dealt with."""
        try:
            while not self.pace.stopped:
                chunk = await asyncio.to_thread(self._left)
                if chunk is None:
                    break
                for entry in chunk:
                    await self._queue.put(entry)
        except Exception as wrong:  # noqa: BLE001 - whatever it is, the workers have to end
            self._end(_failure_of(wrong))
        for _ in range(self._settings.at_once):
            await self._queue.put(None)

    def _left(self) -> list[Entry] | None:
        """Return some of the entries that are left; None after the last one."""
        left: list[Entry] = []
        for number, entry in enumerate(self._entries, 1):
            self.noticed.entry(entry)
            row = settled(entry, self._journal, self._settings)
            if row is None or (self._settings.check and row.state != REJECTED):
                left.append(entry)
            elif row.state == REJECTED:
                self.tally.known_rejected += 1
                self.noticed.rejected_before(row)
                self.rejected_keys.append(row.key)
            else:
                self.tally.known_done += 1
            if len(left) == _CHUNK or number == _LOOKED_AT_MAX:
                return left
        return left or None

    async def _work(self) -> None:
        while (entry := await self._queue.get()) is not None:
            if self.pace.stopped:
                continue  # the reader must be able to put the rest
            try:
                await self._deal_with(entry)
            except Stopped:
                continue
            except Exception as wrong:  # noqa: BLE001 - whoever waits for this worker has to end
                self._end(_failure_of(wrong))

    async def _deal_with(self, entry: Entry) -> None:
        decided = await asyncio.to_thread(self._decided, entry)
        digest = "" if isinstance(decided, Known | Row) else decided.row.digest
        # Entries with the same image come one after the other: the journal knows the first one.
        lock = self._under_way.setdefault(digest or f"/{entry.key}", asyncio.Lock())
        waited = lock.locked()
        async with lock:
            if waited:
                decided = await asyncio.to_thread(self._decided, entry)
            await self._carry_out(entry, decided)

    def _decided(self, entry: Entry) -> Work | Row | Known:
        known = (self._source, self._journal, self._settings)
        looks = look_of(entry, *known) if self._settings.check else None
        return looks or decide(entry, *known)

    async def _carry_out(self, entry: Entry, decided: Work | Row | Known) -> None:
        if isinstance(decided, Known):
            if not self._settings.dry_run:
                await self._recorder.record(decided.row)
            self.tally.known_done += 1
            return
        if isinstance(decided, Row):
            row = decided
        else:
            await self._mark(decided)
            row = await self._sender.send(decided)
            if decided.update_sign and row.reason == "IMAGE_NOT_FOUND":
                # Somebody deleted it: the journal is wrong about it, and it is added.
                gone = self._journal.users_of(decided.update_sign)
                await asyncio.to_thread(self._journal.forget, gone)
                again = await asyncio.to_thread(self._decided, entry)
                await self._carry_out(entry, again)
                return
            if decided.only_looks and row.outcome in ("updated", KEPT):
                self.tally.known_done += 1
                return
        if not self._settings.dry_run:
            await self._recorder.record(row)
        if row.state == REJECTED:
            self.tally.rejected += 1
            self.noticed.rejected(row, decided.content if isinstance(decided, Work) else b"")
            self.rejected_keys.append(row.key)
        else:
            self.tally.outcomes[row.outcome or KEPT] += 1
            self._note_same(row)
        self._on_row(row)

    def _note_same(self, row: Row) -> None:
        """Note an entry whose image another entry of the source has too."""
        if row.outcome == "created" or not row.cont_sign or self._settings.dry_run:
            return
        others = [user for user in self._journal.users_of(row.cont_sign) if user.key != row.key]
        if others:
            self.same_image.append((row.key, others[0].key, row.outcome == "updated"))
        else:
            self.noticed.kept += row.outcome == KEPT

    async def _mark(self, work: Work) -> None:
        """Note before a call that it is made, where that matters to the next run."""
        if self._settings.on_duplicate == "reject" and not (
            work.update_sign or work.uncertain or self._settings.dry_run
        ):
            await self._recorder.record(replace(work.row, state=SENT))


def _failure_of(wrong: Exception) -> Failure:
    """Return how an import ends for which something went wrong beside its calls."""
    if isinstance(wrong, Failure):
        return wrong
    what = str(wrong) or type(wrong).__name__
    source = isinstance(wrong, SourceError)
    if not source and not isinstance(wrong, OSError | JournalError):
        what = f"{type(wrong).__name__}: {what}"
    return Failure(
        what,
        code=ExitCode.GO_ON_LATER,
        next_step="mend that and run the same command; it goes on",
        reason="SOURCE_UNREADABLE" if source else "NOT_WRITTEN",
    )


def unique(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Yield the entries; the second one of a key gets the key ``key#2``, and so on."""
    seen: dict[int, int] = {}
    for entry in entries:
        fingerprint = hash(entry.key)
        number = seen[fingerprint] = seen.get(fingerprint, 0) + 1
        yield entry if number == 1 else _renamed(entry, number)


def _renamed(entry: Entry, number: int) -> Entry:
    return replace(entry, key=f"{entry.key}#{number}")


def tally_before(source: Source, journal: Journal, settings: Settings) -> Tally:
    """Return how far earlier runs came, without reading an image. Raises SourceError."""
    tally = Tally(total=0)
    for entry in unique(source.entries()):
        tally.total = (tally.total or 0) + 1
        row = settled(entry, journal, settings)
        if row is not None and row.state == REJECTED:
            tally.known_rejected += 1
        elif row is not None:
            tally.known_done += 1
    return tally
