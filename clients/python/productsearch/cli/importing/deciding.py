"""Decides from the journal what an entry needs: nothing, an add, an update of its brief.

Knows no service. Nothing is read of an entry whose size, mtime and row are known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from productsearch.cli.journal import DONE, KEPT, REJECTED, SENT, Row, row_of

if TYPE_CHECKING:
    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.journal import Journal
    from productsearch.cli.sources import Entry, Source

IMAGE_BYTES_MAX: Final = 20 * 1024 * 1024
"""The most that the service takes, with ``fit``."""
_CLASS_ID_MAX: Final = 65535
_MESSAGE_CHARS_MAX: Final = 1000
_BRIEF_CHARS_KEPT: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is to be done for an entry that needs the service.

    ``row`` is that of success, without what the service answers. With ``update_sign`` the stored
    image gets the new brief and classes; else the image is added. ``uncertain``: an earlier add of
    it may have been carried out. ``only_looks``: nothing has changed, and the library is asked
    whether it still has the image.
    """

    entry: Entry
    row: Row
    content: bytes = b""
    update_sign: str = ""
    uncertain: bool = False
    only_looks: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """An entry whose file or place has changed and whose image and row have not."""

    row: Row


def settled(entry: Entry, journal: Journal, settings: Settings) -> Row | None:
    """Return the row that says what became of an unchanged entry; None: it is left."""
    for row in journal.rows_of(entry.key):
        if row.origin != entry.origin:
            continue
        if row.state == DONE:
            return None if _lacks_its_brief(row, journal, settings) else row
        # An address can answer another time, and another setting can help.
        final = row.state == REJECTED and not entry.is_url and row.fit == settings.fit
        if final and not settings.retry_rejected:
            return row
    return None


def _lacks_its_brief(row: Row, journal: Journal, settings: Settings) -> bool:
    """Return whether the library has another's brief beside the image, and is to have this one.

    Of two entries with the same image, one is right.
    """
    may_write = settings.on_duplicate == "update" and row.cont_sign
    return bool(may_write) and row.outcome == KEPT and not journal.has_its_brief(row.cont_sign)


def look_of(
    entry: Entry, source: Source, journal: Journal, settings: Settings
) -> Work | Known | None:
    """Return the work that finds out whether the library still has a settled entry's image.

    Known: another entry with the same image finds it out. None: the entry is not settled.
    """
    row = settled(entry, journal, settings)
    if row is None or row.state != DONE or not row.cont_sign:
        return None
    if row.is_stored_as_told:
        return Work(entry=entry, row=row, update_sign=row.cont_sign, only_looks=True)
    if journal.has_its_brief(row.cont_sign):
        return Known(row)
    try:  # what has another's brief is added and kept: an update would replace that
        content = source.read(entry, IMAGE_BYTES_MAX) if row.digest else b""
    except OSError:
        return None
    return Work(entry=entry, row=row, content=content, uncertain=True, only_looks=True)


def decide(
    entry: Entry, source: Source, journal: Journal, settings: Settings
) -> Work | Row | Known:
    """Read the image of an entry; return the work that it needs, or the row of what is settled."""
    rows = journal.rows_of(entry.key)
    origin = next((row.origin for row in rows), entry.origin)

    def made(state: str, digest: str, **told: str) -> Row:
        row = row_of(entry, settings.library, digest=digest, fit=settings.fit, state=state, **told)
        # What was mended in a rejects file stays settled for the source that it came from.
        return replace(row, origin=origin) if source.is_rejects else row

    def rejected(reason: str, message: str, digest: str = "") -> Row:
        row = made(REJECTED, digest, reason=reason, message=message[:_MESSAGE_CHARS_MAX])
        return replace(row, brief=row.brief[:_BRIEF_CHARS_KEPT])

    if entry.problem:
        return rejected("ROW_INVALID", entry.problem)
    if wrong := _wrong_class(entry):
        return rejected("FIELD_INVALID", wrong)
    if entry.is_url and not settings.fetch:
        return _decided(entry, rows, made(DONE, ""), b"", journal, settings)
    try:
        content = source.read(entry, IMAGE_BYTES_MAX)
    except OSError as failed:
        return rejected("FILE_UNREADABLE", failed.strerror or str(failed))
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        return rejected("IMAGE_UNREADABLE", "the file is empty", digest)
    if len(content) > IMAGE_BYTES_MAX:
        told = f"more than {IMAGE_BYTES_MAX} bytes, the most that the service takes"
        return rejected("IMAGE_SIZE_INVALID", told)
    return _decided(entry, rows, made(DONE, digest), content, journal, settings)


def _decided(
    entry: Entry,
    rows: list[Row],
    success: Row,
    content: bytes,
    journal: Journal,
    settings: Settings,
) -> Work | Row | Known:
    same = next((row for row in rows if row.digest == success.digest), None)
    if same is not None and same.cont_sign:
        stored = replace(success, cont_sign=same.cont_sign, outcome=same.outcome)
        if same.state == DONE and same.told == success.told:
            if not _lacks_its_brief(same, journal, settings):
                return Known(stored)
            return Work(entry=entry, row=stored, update_sign=same.cont_sign)
        if lost := _lost_class(same, success):
            return replace(stored, state=REJECTED, reason="CLASS_CANNOT_BE_CLEARED", message=lost)
        return Work(entry=entry, row=stored, update_sign=same.cont_sign)
    uncertain = same is not None and same.state == SENT
    if content and settings.on_duplicate == "keep" and not uncertain and not settings.dry_run:
        twin = journal.done_with(success.digest)
        if twin is not None:
            return replace(success, cont_sign=twin.cont_sign, outcome=KEPT)
    return Work(entry=entry, row=success, content=content, uncertain=uncertain)


def _wrong_class(entry: Entry) -> str:
    for name, text in (("class_id1", entry.class_id1), ("class_id2", entry.class_id2)):
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if text and not 1 <= number <= _CLASS_ID_MAX:
            return f"{name} is {text[:64]!r}; use 1 to {_CLASS_ID_MAX}, or --class-name NAME=NUMBER"
    return ""


def _lost_class(before: Row, after: Row) -> str:
    for name in ("class_id1", "class_id2"):
        if getattr(before, name) and not getattr(after, name):
            return f"{name} was {getattr(before, name)}; `productsearch forget` it and import again"
    return ""
