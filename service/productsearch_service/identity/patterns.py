"""Patterns of the policy file, in which ``*`` stands for any text and ``?`` for one character.

A policy may have ten thousand rules, and callers make up names. So a name is looked for among the
patterns and not compared with each: those without a wildcard are found at once, the others by the
text that they begin with.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final

_WILDCARDS: Final = re.compile(r"[*?]")
_MATCHERS_MAX: Final = 1024
"""Lists of patterns that are kept as they are matched: rules mostly name the same few."""

Matcher = Callable[[str], bool]


def matches(patterns: tuple[str, ...], text: str) -> bool:
    """Return whether ``text`` matches one of ``patterns``."""
    return any(matcher(text) for matcher in _matchers(patterns))


def has_wildcard(pattern: str) -> bool:
    """Return whether a pattern stands for more than one name."""
    return _WILDCARDS.search(pattern) is not None


class PatternIndex:
    """Lists of patterns by number; tells which of them a name matches."""

    def __init__(self, lists: Iterable[Sequence[str]]) -> None:
        self._exact: defaultdict[str, list[int]] = defaultdict(list)
        by_beginning: defaultdict[str, list[tuple[int, Matcher]]] = defaultdict(list)
        for number, patterns in enumerate(lists):
            for pattern in patterns:
                wildcard = _WILDCARDS.search(pattern)
                if wildcard is None:
                    self._exact[pattern].append(number)
                else:
                    entry = (number, _matcher(pattern))
                    by_beginning[pattern[: wildcard.start()]].append(entry)
        self._by_beginning = dict(by_beginning)
        self._lengths = sorted({len(beginning) for beginning in by_beginning})

    def of(self, name: str) -> list[int]:
        """Return the numbers of the lists that a name matches, in order."""
        found = set(self._exact.get(name, ()))
        for length in self._lengths:
            if length > len(name):
                break
            for number, matcher in self._by_beginning.get(name[:length], ()):
                if number not in found and matcher(name):
                    found.add(number)
        return sorted(found)


@lru_cache(_MATCHERS_MAX)
def _matchers(patterns: tuple[str, ...]) -> tuple[Matcher, ...]:
    exact = frozenset(pattern for pattern in patterns if not has_wildcard(pattern))
    wild = tuple(_matcher(pattern) for pattern in patterns if has_wildcard(pattern))
    return (exact.__contains__, *wild) if exact else wild


def _matcher(pattern: str) -> Matcher:
    """Return what matches a pattern in one pass, however many ``*`` it has.

    What stands between two ``*`` is taken where it comes first, and never looked for again: if the
    rest does not match from there, it matches from nowhere later either.
    """
    if "?" in pattern:
        return _Expression(pattern)
    first, *middle, last = re.split(r"\*+", pattern)
    if not middle and not last:
        return lambda text: text.startswith(first)
    return lambda text: _in_order(first, middle, last, text)


def _in_order(first: str, middle: Sequence[str], last: str, text: str) -> bool:
    """Return whether ``text`` begins with ``first``, ends with ``last``, and has all between."""
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - len(last) >= at and text.endswith(last)


class _Expression:
    """A pattern with ``?`` as a regular expression, which is made when it is first needed."""

    __slots__ = ("_compiled", "_pattern")

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._compiled: re.Pattern[str] | None = None

    def __call__(self, text: str) -> bool:
        if self._compiled is None:
            self._compiled = re.compile(_expression(self._pattern), re.DOTALL)
        return self._compiled.fullmatch(text) is not None


def _expression(pattern: str) -> str:
    first, *parts = (re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", pattern))
    if not parts:
        return first
    middle = "".join(f"(?>.*?{part})" for part in parts[:-1])
    return f"{first}{middle}.*{parts[-1]}"
