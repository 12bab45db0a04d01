"""One import from its first line to its last: journal, progress, signals, rejects, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc

from productsearch.cli import output
from productsearch.cli.connection import open_async_channel, open_channel
from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.failures import Failure, usage
from productsearch.cli.importing import rejects
from productsearch.cli.importing.importer import Importer, tally_before
from productsearch.cli.importing.progress import Progress
from productsearch.cli.journal import REJECTED, Journal, JournalError
from productsearch.cli.rpc_failures import failure_of
from productsearch.cli.sources.entry import SourceError
from productsearch.cli.sources.folder import SUFFIXES
from productsearch.cli.targets import stays_unreached
from productsearch.v1 import AddImageRequest, ProductSearchStub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from productsearch.cli.importing.events import Events
    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.journal import Row
    from productsearch.cli.profile import Profile
    from productsearch.cli.sources import Source


_SAME_SHOWN = 5
_ALWAYS_SHOWN = ("total", "done", "rejected", "left", "verify_missed")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an import ended. ``failure`` is what stopped it early; ``advice`` what options change."""

    fields: dict[str, Any]
    code: ExitCode
    failure: Failure | None
    complete: bool
    advice: tuple[str, ...] = ()


def ask_first(profile: Profile, timeout_s: float) -> None:
    """Raise Failure where the service refuses this caller, or this library, or cannot be meant.

    The request lacks its image: the service refuses it before the upstream, for that reason if for
    no other. A service that is down, or busy, is left to the import's patience; a certificate that
    is not trusted, or a server of another kind, is not.
    """
    with open_channel(profile) as channel:
        try:
            ProductSearchStub(channel).AddImage(
                AddImageRequest(library=profile.library), timeout=timeout_s
            )
        except grpc.RpcError as error:
            failure = failure_of(error)
            refused = failure.code is ExitCode.REFUSED and failure.reason != "FIELD_INVALID"
            if refused or stays_unreached(error.details() or ""):
                raise failure from None


@contextlib.contextmanager
def journal_of(source: Source, library: str, *, chosen: Path | None = None) -> Iterator[Journal]:
    """Open the journal of a source for writing. Raises Failure."""
    file = chosen or source.journal
    if file is None:
        raise usage(f"{source.name} has no place for a journal", "name one with --journal FILE")
    try:
        with Journal(file, library) as journal:
            journal.lock()
            yield journal
    except JournalError as wrong:
        raise Failure(
            str(wrong),
            code=ExitCode.USAGE,
            next_step="check the rights and the space of that folder, or name one with --journal",
        ) from None
    except SourceError as wrong:
        raise usage(str(wrong)) from None


def run(
    source: Source, journal: Journal, settings: Settings, profile: Profile, events: Events
) -> Ended:
    """Import; return how it ended. Raises SourceError, JournalError, Failure for wrong usage."""
    before = None
    if not journal.is_empty():
        before = tally_before(source, journal, settings)
        output.note(before.line())
    file = settings.rejects or rejects.default_path(source)
    events.tell(
        "started",
        source=source.name,
        target=profile.target,
        library=settings.library,
        journal=str(journal.file),
        dry_run=settings.dry_run,
    )
    total = before.total if before is not None else None
    importer, failure = asyncio.run(_import(source, journal, settings, profile, events, total))
    tally = importer.tally
    fields = tally.fields()
    if not settings.dry_run and (importer.complete or not source.is_rejects):
        try:
            if rejects.write(file, importer.rejected_keys, journal, source):
                fields["rejects_file"] = str(file)
        except OSError as wrong:
            output.note(f"the rejects file {file} cannot be written: {wrong.strerror}")
    _tell_same(importer)
    if importer.complete and not tally.total:
        kinds = ", ".join(sorted(SUFFIXES))
        output.note(f"{source.name} has no images; of a folder, files count that end in {kinds}")
    code = ExitCode.DONE if failure is None else failure.code
    if failure is None and tally.all_rejected:
        code = ExitCode.SOME_REJECTED
    return Ended(
        fields=fields,
        code=code,
        failure=failure,
        complete=importer.complete,
        advice=tuple(importer.noticed.lines(settings)),
    )


def _tell_same(importer: Importer) -> None:
    """Tell which files are the same image: the library has one brief for them."""
    for key, other, stored in importer.same_image[:_SAME_SHOWN]:
        has = key if stored else other
        output.note(f"{key} and {other} are the same image; the library has the brief of {has}")
    if (more := len(importer.same_image) - _SAME_SHOWN) > 0:
        output.note(f"and {more} more that are the same image as another")


async def _import(
    source: Source,
    journal: Journal,
    settings: Settings,
    profile: Profile,
    events: Events,
    total: int | None,
) -> tuple[Importer, Failure | None]:
    async with open_async_channel(profile) as channel:
        stub = ProductSearchStub(channel)

        def on_row(row: Row) -> None:
            events.item(row)
            if settings.dry_run and row.state == REJECTED:  # a dry run writes no rejects file
                output.note(f"{row.key}: {row.reason}: {row.message}")

        importer = Importer(stub, source, journal, settings, on_row)
        importer.tally.total = total

        def told(rate: float) -> None:
            events.tell(
                "progress",
                **importer.tally.fields(),
                per_second=round(rate, 2),
                waiting_for=importer.pace.waiting_for,
            )

        tasks = [asyncio.create_task(Progress(importer.tally, importer.pace, told).run())]
        if total is None:
            tasks.append(asyncio.create_task(_count(source, importer)))
        failure: Failure | None = None
        try:
            with _interrupts(importer) as interrupted:
                await importer.run()
        except Failure as stopped:
            failure = stopped
        except asyncio.CancelledError:
            if not interrupted:
                raise
        finally:
            if importer.complete:  # then the count is nearly there
                await asyncio.wait(tasks[1:] or [asyncio.create_task(asyncio.sleep(0))])
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if interrupted:
            failure = Failure(
                "interrupted",
                code=ExitCode.INTERRUPTED,
                next_step="run the same command; it goes on",
                reason="INTERRUPTED",
            )
        return importer, failure


async def _count(source: Source, importer: Importer) -> None:
    importer.tally.total = await asyncio.to_thread(source.count)


@contextlib.contextmanager
def _interrupts(importer: Importer) -> Iterator[list[int]]:
    """Let the first Ctrl-C finish what is under way and the second one cancel it.

    Yields a list that is not empty once there was one.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    came: list[int] = []

    def interrupt(number: int) -> None:
        came.append(number)
        importer.pace.stop()
        if len(came) == 1:
            output.note("finishing what is under way; once more to leave at once")
        elif task is not None:
            task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(number, interrupt, number)
    try:
        yield came
    finally:
        for number in numbers:
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.remove_signal_handler(number)


def report(ended: Ended, *, as_json: bool) -> ExitCode:
    """Print how an import ended and return the exit code."""
    fields = dict(ended.fields)
    if ended.failure is not None:
        fields |= ended.failure.fields()
    fields["exit_code"] = int(ended.code)
    if as_json:
        output.print_json(fields)
        return ended.code
    hidden = {"reason", "next", "error", "exit_code"}
    hidden |= {name for name, value in fields.items() if value == 0 and name not in _ALWAYS_SHOWN}
    shown = {name: value for name, value in fields.items() if name not in hidden}
    shown["seconds"] = f"{fields['seconds']:.1f}"
    output.print_fields(shown)
    if ended.failure is not None:
        output.note(f"productsearch: {ended.failure.lines()}")
    elif "rejects_file" in fields:
        output.note(
            f"{fields['rejected']} rejected; the reasons are in {fields['rejects_file']}\n"
            "  next: mend the rows or the images, then "
            f"productsearch import {fields['rejects_file']}"
        )
    for line in ended.advice:
        output.note(line)
    return ended.code


def ended_with(ended: Ended, **fields: Any) -> Ended:
    """Return how an import ended with more fields."""
    return replace(ended, fields=ended.fields | fields)
