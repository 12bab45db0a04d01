"""Which images of a library are listed: the filters as conditions of SQL, and how many pass them.

Runs nothing: ``store.gallery`` does.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which images are listed; what is None or empty does not filter."""

    class_id1: int | None = None
    class_id2: int | None = None
    text: str = ""
    """Part of the brief as people read it: letters of either case, of JSON's too."""
    since: datetime | None = None


def conditions(selection: Selection, *, folds: bool) -> Iterator[LiteralString]:
    """Yield a condition for each filter, the most selective first; a text is the last."""
    if selection.class_id2 is not None:
        yield "i.class_id2 = %(class_id2)s"
    if selection.class_id1 is not None:
        yield "i.class_id1 = %(class_id1)s"
    if selection.since is not None:
        yield "i.created_at >= %(since)s"
    if selection.text:
        yield _TEXT_FOLDED if folds else _TEXT


def count_text(selection: Selection, *, folds: bool) -> LiteralString:
    """Return a count of images: one condition by its index, the others among those it lets pass."""
    wanted = [*conditions(selection, folds=folds)]
    first: LiteralString = "true"
    if len(wanted) > (1 if selection.text else 0):
        first = wanted.pop(0)
    limit: LiteralString = "%(looked_at)s" if wanted else "%(most)s"
    # Most images pass a day that is long ago: they are not counted by reading all of a library.
    order: LiteralString = "order by i.created_at desc" if "since" in first else ""
    rest: LiteralString = " and ".join(wanted) or "true"
    return (
        _COUNT.replace("REST", rest)
        .replace("FIRST", first)
        .replace("ORDER", order)
        .replace("LIMIT", limit)
    )


def values(selection: Selection) -> dict[str, Any]:
    """Return the parameters of the conditions."""
    return {
        "class_id1": selection.class_id1,
        "class_id2": selection.class_id2,
        "pattern": _pattern(selection.text),
        "folded": _pattern(unicodedata.normalize("NFKC", selection.text).casefold()),
        "text": selection.text.encode(),
        "since": selection.since,
    }


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


FOLDS = 180000
"""The version of PostgreSQL that knows letters of either case in every script by itself."""

# A brief is UTF-8, but PostgreSQL's text has no NUL: such a brief is compared byte by byte.
_TEXT: LiteralString = """
case when position('\\x00'::bytea in i.brief) = 0
    then convert_from(i.brief, 'UTF8') ilike %(pattern)s
    else position(%(text)s::bytea in i.brief) > 0 end
"""
# As people read it: letters that JSON has escaped (\u7ea2), decomposed or wide ones, either case.
# Most briefs have none of these, and folding costs five times what comparing does.
_TEXT_FOLDED: LiteralString = """
case
    when position('\\x00'::bytea in i.brief) > 0
        then position(%(text)s::bytea in i.brief) > 0
    when position('\\x5c75'::bytea in i.brief) = 0
            and octet_length(i.brief) = char_length(convert_from(i.brief, 'UTF8'))
        then convert_from(i.brief, 'UTF8') ilike %(folded)s
    else casefold(normalize(
        convert_from(i.brief, 'UTF8') || case
            when position('\\x5c75'::bytea in i.brief) > 0
                -- A number of eight letters may be one of a hundred thousand digits.
                and convert_from(i.brief, 'UTF8') !~ '[0-9][eE][+-]?[0-9][0-9][0-9]'
                and pg_input_is_valid(convert_from(i.brief, 'UTF8'), 'jsonb')
            then chr(10) || convert_from(i.brief, 'UTF8')::jsonb::text
            else '' end,
        NFKC) collate "pg_unicode_fast") like %(folded)s
end
"""


_COUNT: LiteralString = """
select count(*) filter (where REST), count(*) from (
    select i.brief, i.class_id1, i.class_id2, i.created_at from {images} i
    where i.library_id = {library} and FIRST ORDER limit LIMIT
) i
"""
