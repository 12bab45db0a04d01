"""Where a setting stands: the line of the file, or the variable that wins over it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from typing import Any

Keys = tuple[str, ...]


class Places:
    """The places of settings in one file (empty: there is none) and in the environment.

    ``prefix`` begins the names of variables, in which ``__`` stands between the keys.
    """

    def __init__(self, file: str, content: bytes, prefix: str) -> None:
        self.file = file
        self._prefix = prefix
        self._lines: dict[Keys, int] = {}
        for keys, number in _lines_of(content.decode("utf-8", "replace")):
            for end in range(1, len(keys) + 1):
                self._lines.setdefault(keys[:end], number)
            self._lines[keys] = number

    def of(self, keys: Keys) -> str:
        """Return where a setting stands, or else what holds it; empty: nowhere."""
        place, line = self._found(keys)
        return f"{place}, line {line}" if line else place

    def line_of(self, keys: Keys) -> int:
        """Return the line of the file that ``of`` names; 0 if it names none."""
        return self._found(keys)[1]

    def _found(self, keys: Keys) -> tuple[str, int]:
        """Return a variable and 0, or the file and a line of it or 0."""
        variables = {name.upper(): name for name in os.environ}
        for end in range(len(keys), 0, -1):
            variable = self._prefix + "__".join(keys[:end]).upper()
            if variable in variables:
                return variables[variable], 0
            begins = f"{variable}__"
            below = [name for key, name in variables.items() if key.startswith(begins)]
            if below and not self._is_table(keys[:end]):
                return min(below), 0
            if keys[:end] in self._lines:
                return self.file, self._lines[keys[:end]]
        return self.file, 0

    def _is_table(self, keys: Keys) -> bool:
        """Return whether the file has something below these keys: a variable only adds to it."""
        return any(len(each) > len(keys) and each[: len(keys)] == keys for each in self._lines)

    def below(self, table: str) -> list[str]:
        """Return the names of a table's tables in the file."""
        return sorted({keys[1] for keys in self._lines if keys[0] == table and keys[1:]})


def _lines_of(text: str) -> Iterator[tuple[Keys, int]]:
    """Yield the keys that begin on a line, with its number; a value of many lines has one."""
    table: Keys = ()
    value = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if value:
            value = _unfinished(f"{value}\n{line}")
            continue
        stripped = line.strip()
        if stripped.startswith("["):
            table = _keys(stripped)
            yield table, number
        elif stripped and not stripped.startswith("#"):
            value = _unfinished(stripped)
            yield table + _keys(stripped.partition("=")[0] + "= 0"), number


def _unfinished(text: str) -> str:
    """Return the text of a key and its value if more lines belong to it, else nothing."""
    opens = any(mark in text for mark in ("[", "{", '"""', "'''"))
    return text if opens and not _read(text) else ""


def _keys(text: str) -> Keys:
    """Return the keys of a table's head, or of a line with a value; none if it is none."""
    keys: list[str] = []
    found: Any = _read(text)
    while isinstance(found, list | dict) and found:
        if isinstance(found, dict):
            keys.append(next(iter(found)))
        found = found[0] if isinstance(found, list) else found[keys[-1]]
    return tuple(keys)


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}
