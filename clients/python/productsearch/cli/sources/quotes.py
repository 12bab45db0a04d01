"""Finds the quote of a CSV list that is not closed.

A quote that is not closed makes one value of the lines that follow, up to the next quote: a reader
of CSV notices it there, or at the end of the file, and names that line.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_QUOTE: Final = '"'


def told_of(lines: Iterable[str], after: int, delimiter: str) -> str:
    """Return which quote is wrong, and on which line it was opened; "": none is.

    The first ``after`` of the lines are whole rows, and no quote is looked for in them.
    """
    opened = 0
    """The line on which the value began that a quote encloses; 0 outside of one."""
    for number, line in enumerate(itertools.islice(lines, after, None), after + 1):
        text, at, begins = line.rstrip("\r\n"), 0, not opened
        while at < len(text):
            if opened:
                at = text.find(_QUOTE, at) + 1
                if not at:
                    break
                if text[at : at + 1] == _QUOTE:  # a quote inside a value is doubled
                    at += 1
                elif text[at : at + 1] in ("", delimiter):
                    opened = 0
                else:
                    return _followed_by_text(opened, number)
            elif begins and text[at] == _QUOTE:
                opened, at = number, at + 1
            else:
                at = text.find(delimiter, at) + 1 or len(text)
            begins = not opened and text[at - 1 : at] == delimiter
    return f"line {opened}: a quote is not closed" if opened else ""


def _followed_by_text(opened: int, number: int) -> str:
    if opened == number:
        return f"line {number}: text follows the quote that ends a value"
    return f"line {opened}: a quote is not closed; the next one is on line {number}"
