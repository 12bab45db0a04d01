"""Tells what is wrong with settings, and what would be right.

Knows the problems that pydantic finds. Does not know which settings there are.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable
from typing import Any, Final

_NEAR: Final = 0.7
_VALUE_CHARS_MAX: Final = 21
"""Longer text is not told: it may be a secret in the wrong place, and those are longer."""
_TOLD_MAX: Final = 10**20
_COMPARISONS_MAX: Final = 20_000
"""Of names, for the hints of one file: a second of CPU."""
_UNTOLD: Final = frozenset({"api_key", "secret_key", "base_url", "traces_endpoint"})

_SENTENCES: Final = {
    "missing": "is missing; set it",
    "extra_forbidden": "is not a setting; remove it, or correct its name",
    "too_short": "must have at least one entry",
    "string_pattern_mismatch": "must be 1 to 64 characters of a-z, 0-9, '.', '_' and '-', of which "
    "the first is a letter or a digit",
    "greater_than": "must be greater than {gt:.12g}",
    "greater_than_equal": "must be {ge:.12g} or more",
    "less_than_equal": "must be {le:.12g} or less",
    "literal_error": "must be one of {expected}",
    "path_not_file": "must be the path of a file that exists",
    "path_not_directory": "must be the path of a directory that exists",
    "ip_any_network": "must be an IP network without host bits, such as 10.0.0.0/8",
    "finite_number": "must be a finite number",
    "date_from_datetime_parsing": "must be a day such as 2027-01-31",
    "date_from_datetime_inexact": "must be a day such as 2027-01-31",
    "date_parsing": "must be a day such as 2027-01-31",
}
_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "tuple": "a list",
    "dict": "a table",
    "date": "a day such as 2027-01-31",
    "model": "a table",
}
"""What a value must be, by the first word of pydantic's name for the problem."""

MISSING: Final = _SENTENCES["missing"]


def sentence_of(problem: Any) -> str:
    """Return what pydantic found wrong with one value, and what would be right, in our words."""
    kind = problem["type"]
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**problem.get("ctx", {}))
    if kind.partition("_")[0] in _KINDS:
        return f"must be {_KINDS[kind.partition('_')[0]]}"
    return str(problem["msg"].removeprefix("Value error, "))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at what ``name`` was meant to be, or nothing.

    In a short name two letters that are swapped are a large part: the same letters are near, too.
    """
    known = [*known]
    swapped = [each for each in known if sorted(each) == sorted(name)]
    near = swapped or difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
    return f"; did you mean {near[0]}?" if near else ""


class Hints:
    """Hints at many names, as long as they cost little: each is compared with all that are known.

    They are told while a service starts, and while its event loop needs the interpreter.
    """

    def __init__(self, comparisons_max: int = _COMPARISONS_MAX) -> None:
        self._left = comparisons_max

    def nearest(self, name: str, known: Collection[str]) -> str:
        """Return the hint, or nothing once it would cost too much."""
        self._left -= len(known)
        return nearest(name, known) if self._left >= 0 else ""


def value_of(problem: Any) -> str:
    """Return the wrong value as it is told, or nothing if it is long or may be a secret."""
    value = problem.get("input")
    name = str(problem["loc"][-1])
    if name in _UNTOLD or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        sound = len(value) <= _VALUE_CHARS_MAX and value.isprintable() and "@" not in value
        return f", not {value!r}" if sound else ""
    if isinstance(value, int):
        return f", not {value}" if abs(value) < _TOLD_MAX else ""
    if isinstance(value, float):
        return f", not {value:g}" if math.isfinite(value) else f", not {value}"
    return ""


def nearest_variable(
    name: str, prefix: str, known: Iterable[str], of_library: Iterable[str]
) -> str:
    """Return a hint at the variable that ``name`` was meant to be, or nothing."""
    given = name.upper().removeprefix(prefix)
    beside = {each.removeprefix(prefix) for each in known}
    for setting in sorted(of_library, key=len, reverse=True):
        if meant := re.fullmatch(rf"LIBRAR(?:Y|IES)_+(.+?)_+{setting.upper()}", given):
            return f"; did you mean {prefix}LIBRARIES__{meant[1]}__{setting.upper()}?"
    # What all names begin with makes none of them more alike.
    return nearest(given, beside).replace("mean ", f"mean {prefix}")
