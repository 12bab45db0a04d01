"""Reads TOML that people wrote: what is wrong with it, and where.

Knows text. Does not know settings.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from typing import Any, Final

from productsearch_service import small_file

_PLACE: Final = re.compile(r" \(at (?:line \d+, column \d+|end of document)\)$")
_MARK: Final = "\ufeff"
_WORDS: Final = {
    "Cannot overwrite a value": "a key is given twice",
    "Cannot declare": "a table is given twice",
    "Cannot redefine": "a table is given twice",
    "Invalid value": "no value that TOML knows: text stands in quotes",
    "Invalid statement": "neither `name = value` nor a [table]",
}


class TomlError(ValueError):
    """Content that is no TOML; the text says what is wrong, and on which line."""


def parse(content: bytes) -> dict[str, Any]:
    """Return what a TOML file says; raise TomlError."""
    if small_file.has_long_keys(content):
        raise TomlError("is nested too deeply")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise TomlError("is UTF-16; save it as UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        raise TomlError(f"is not UTF-8; save it as such (at line {line})") from None
    if text.startswith(_MARK):
        raise TomlError("begins with a byte order mark; save it as UTF-8 without one")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _told(str(error)) from None
    except RecursionError:
        raise TomlError("is nested too deeply") from None


def _told(words: str) -> TomlError:
    at = _PLACE.search(words)
    wrong = _PLACE.sub("", words)
    told = next((ours for begin, ours in _WORDS.items() if wrong.startswith(begin)), wrong)
    return TomlError(f"is not TOML: {told}{at[0] if at else ''}")
