"""Reads the settings: one TOML file, and the environment over it.

The file is named by ``PRODUCTSEARCH_SETTINGS``. Any setting can be given in the environment
as ``PRODUCTSEARCH_<NAME>``, a library's as ``PRODUCTSEARCH_LIBRARIES__<LIBRARY>__<NAME>``.
Wrong settings are told all at once, each with the line or the variable that has it; values that may
be secrets are not told. So is what is wrong with the files that they name, which ``server.files``
checks.
"""

from __future__ import annotations

import os
import re
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from productsearch_service import small_file, toml_text
from productsearch_service.settings import FILE_VARIABLE, PREFIX, Settings
from productsearch_service.settings_library import LibrarySettings
from productsearch_service.settings_places import Places
from productsearch_service.settings_words import (
    MISSING,
    nearest,
    nearest_variable,
    sentence_of,
    value_of,
)

_NOT_OURS: Final = tuple(PREFIX + part for part in ("ENGINE_", "CLI_", "LIBRARIES__"))
"""Variables of the engine and of the command line; those of libraries are read elsewhere."""
_MAY_BE_EMPTY: Final = ("settings", "admin_listen", "metrics_listen", "traces_endpoint")
_FIELD: Final = re.compile(r'field "(\w+)"')
_OF_LIBRARY: Final = frozenset(LibrarySettings.model_fields)
_EXAMPLES: Final = {
    "sidecars": 'a list such as ["10.0.0.0/8"]',
    "libraries": 'a table such as {"default": {"credentials_dir": "/run/secrets/default"}}',
}
_OPEN: Final = "listen is open to the network"


class SettingsError(ValueError):
    """One line for each wrong setting."""


def read_settings(kind: type[Settings] = Settings) -> Settings:
    """Return the settings of this process, as a ``kind``; raise SettingsError."""
    file = os.environ.get(FILE_VARIABLE, "")
    content = _content(file) if file else b""
    wrong = [
        f"{name}: no such setting{nearest_variable(name, PREFIX, _variables(), _OF_LIBRARY)}"
        for name in _unknown_variables()
    ]
    if no_values := _empty_variables() + _unreadable_variables():
        raise SettingsError("\n".join(wrong + no_values))
    places = Places(file, content, PREFIX)
    try:
        settings = kind()  # type: ignore[call-arg] # from file and environment
    except ValidationError as error:
        told = [_told(problem, places) for problem in error.errors(include_url=False)]
        wrong += [text for _, text in sorted(told, key=itemgetter(0))]
    except ValueError as error:
        field = _FIELD.search(str(error))
        variable = f"{PREFIX}{field[1].upper()}" if field else "a variable"
        example = _EXAMPLES.get(field[1] if field else "", "a list or a table")
        wrong.append(f"{variable}: must be JSON: {example}")
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


def _content(file: str) -> bytes:
    """Return the content of the settings file, which is TOML; raise SettingsError."""
    try:
        content = small_file.read(Path(file))
        toml_text.parse(content)
    except FileNotFoundError:
        raise SettingsError(f"{FILE_VARIABLE}: no such file: {file}") from None
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except toml_text.TomlError as error:
        raise SettingsError(f"{file}: {error}") from None
    return content


def _unknown_variables() -> list[str]:
    known = _variables()
    return sorted(
        name
        for name in os.environ
        if name.upper().startswith(PREFIX)
        and not name.upper().startswith(_NOT_OURS)
        and name.upper() not in known
    )


def _empty_variables() -> list[str]:
    """Return a line for each variable that is empty, where that is no value."""
    return sorted(
        f"{name}: is empty; unset it, or give it a value"
        for name, value in os.environ.items()
        if not value
        and name.removeprefix(PREFIX).lower() not in _MAY_BE_EMPTY
        and (name in _variables() or name.startswith(f"{PREFIX}LIBRARIES__"))
    )


def _unreadable_variables() -> list[str]:
    """Return a line for each variable whose bytes are no text."""
    return sorted(
        f"{name}: is not UTF-8; write it anew"
        for name, value in os.environ.items()
        if name.upper().startswith(PREFIX)
        and not name.upper().startswith(_NOT_OURS[:2])
        and any("\ud800" <= each <= "\udfff" for each in value)
    )


def _variables() -> set[str]:
    return {FILE_VARIABLE, *(PREFIX + name.upper() for name in Settings.model_fields)}


_LIBRARIES_EXAMPLE: Final = """
  [libraries.default]
  credentials_dir = "/run/secrets/productsearch/default"   # has the files api_key and secret_key"""


def _told(problem: Any, places: Places) -> tuple[int, str]:
    """Return the line of the file that a problem is in, 0 for none, and what is wrong.

    The text has a line for each thing that is wrong with a setting, with its name and place.
    """
    path = tuple(str(part) for part in problem["loc"] if part != "[key]")
    words = sentence_of(problem)
    tells_value = words.startswith(("must", "the port must")) and "which is" not in words
    if tells_value and "[key]" not in problem["loc"]:
        words += value_of(problem)
    if problem["type"] == "extra_forbidden":
        words += _hint(path)
    elif path == ("libraries",) and problem["type"] == "missing" and not places.file:
        words = (
            f"{MISSING.partition(';')[0]}; no settings file was named ({FILE_VARIABLE} is not "
            "set): name the one that has your libraries"
        )
    elif len(path) == 2 and path[0] == "libraries":
        words = _of_a_library(path, problem, words, places)
    elif words.startswith(_OPEN):
        path, words = ("listen",), words.removeprefix("listen ")
    name = ".".join(part for part in path if not part.isdigit()) or "settings"
    name += "".join(f", entry {int(part) + 1}" for part in path if part.isdigit())
    place = places.of(path)
    text = "\n".join(f"{name}: {line}" + (place and f" ({place})") for line in words.splitlines())
    if path == ("libraries",) and problem["type"] == "missing" and places.file:
        text += _LIBRARIES_EXAMPLE
    return places.line_of(path), text


def _hint(path: tuple[str, ...]) -> str:
    *tables, name = path
    if not tables and name in _OF_LIBRARY:
        return "; it belongs below [libraries.NAME]"
    if not tables:
        of_library = nearest(name, _OF_LIBRARY).replace("?", " below [libraries.NAME]?")
        return nearest(name, _top()) or of_library
    if name in _top():
        return "; it belongs above the first [table] of the file"
    return nearest(name, _OF_LIBRARY)


def _top() -> set[str]:
    return set(Settings.model_fields)


def _of_a_library(path: tuple[str, ...], problem: Any, words: str, places: Places) -> str:
    if path[1] in _OF_LIBRARY and problem["type"].startswith("model"):
        return "is a setting of one library: write it below [libraries.NAME]"
    there = places.below("libraries")
    if there and path[1] not in there and problem["type"] == "value_error":
        return f"{words}; only a variable names this library, the file has {', '.join(there)}"
    return words
