"""The console's languages: English in the source, the others from ``locale/*.po``.

Knows catalogues, numbers and dates. Does not know pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files

from babel.dates import format_datetime
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from starlette.requests import Request

COOKIE = "productsearch_console_language"
NAMES: Mapping[str, str] = {"en": "English", "zh": "中文"}


class Language:
    """One language's sentences."""

    def __init__(self, code: str, sentences: Mapping[str, str]):
        self.code = code
        self.html_code = {"zh": "zh-CN"}.get(code, code)
        self._sentences = sentences

    def text(self, sentence: str, **values: object) -> str:
        """Return a sentence in this language; ``%(name)s`` stands for a value."""
        found = self._sentences.get(sentence) or sentence
        return found % values if values else found

    def count(self, one: str, many: str, n: int, **values: object) -> str:
        """Return the sentence for a number of things, ``%(n)s``."""
        values["n"] = self.number(n)
        return self.text(one if n == 1 else many, **values)

    def number(self, value: int) -> str:
        """Return a whole number with its groups of digits."""
        return format_decimal(value, locale=self.code)

    def time(self, moment: datetime) -> str:
        """Return a date with its time, in UTC."""
        return format_datetime(moment.astimezone(UTC), "medium", locale=self.code)


def sized(byte_count: int) -> str:
    """Return a number of bytes as people read it."""
    value, unit = float(byte_count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def _sentences(code: str) -> dict[str, str]:
    file = files(__package__) / "locale" / f"{code}.po"
    with file.open("rb") as opened:
        catalogue = read_po(opened, locale=code)
    found: dict[str, str] = {}
    for message in catalogue:
        if message.id and isinstance(message.id, str) and isinstance(message.string, str):
            found[message.id] = message.string
    return found


LANGUAGES: Mapping[str, Language] = {
    code: Language(code, {} if code == "en" else _sentences(code)) for code in NAMES
}


def of_request(request: Request) -> Language:
    """Return the language that somebody chose, or that their browser asks for."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return LANGUAGES[chosen]
    for asked in request.headers.get("accept-language", "").split(",")[:16]:
        code = asked.partition(";")[0].strip().partition("-")[0].lower()
        if code in LANGUAGES:
            return LANGUAGES[code]
    return LANGUAGES["en"]
