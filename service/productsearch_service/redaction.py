"""Masks secrets in text: registered ones, and the values of parameters that carry secrets.

Key pairs and tokens are registered when they arrive, under a name of where they are in use. Each is
known as long as it is that, and the last ones of all that are in use no more. Beside them, the
value of every parameter whose name says that it is a secret is masked. ``hides_secret`` and
``echoes_secret`` find registered ones in text of others, who may have spelled them otherwise.
"""

from __future__ import annotations

import base64
import html
import json
import re
import string
import threading
import unicodedata
from collections import deque
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

_USES_MAX: Final = 4096
"""Places of use: a library has three."""
_FORMER_MAX: Final = 64
_LENGTH_MIN: Final = 8
_NAMES_KEPT: Final = 256
_MASK: Final = "***"
_NAMES: Final = (
    "access_token",
    "client_id",
    "client_secret",
    "api_key",
    "secret_key",
    "authorization",
)
_PARAMETER: Final = re.compile(
    rf"""((?:{"|".join(_NAMES)})
        ["']?\s*(?:=|:|%3[dD])\s*["']?(?:bearer\s+)?)[^\s&"',;<>]+""",
    re.VERBOSE | re.IGNORECASE,
)

_PIECE_CHARS: Final = 12
"""So many characters of a secret in a row are one too many."""
_SEARCHED_CHARS: Final = 512
"""Of each secret: pieces of the rest are not looked for."""
_LETTERS: Final = (string.ascii_letters + string.digits).encode()
_NO_LETTERS: Final = bytes({*range(256)}.difference(_LETTERS))
_ESCAPE: Final = re.compile(r"(?<!\\)\\++(?:u\{?(?:00)?|x)([0-9a-fA-F]{2})\}?")
"""Begins with the first backslash of a row, and takes them all: else a row costs its square."""
LIKE_ESCAPES: Final = re.compile(r"%[0-9a-fA-F]{2}|&[#a-zA-Z0-9]+;|\\[ux]")
"""Text with one of these may spell letters otherwise."""
_ESCAPED_MAX: Final = 3
"""How often text may have been escaped."""
_ESCAPED_CHARS_MAX: Final = 16_384
"""Longer text with escapes is not read: a brief has 256 bytes."""

_lock = threading.Lock()
_in_use: dict[str, str] = {}
_former: deque[str] = deque(maxlen=_FORMER_MAX)
_spellings: tuple[str, ...] = ()
"""All spellings of the known secrets; replaced as a whole, so that readers need no lock."""


def register_secret(secret: str, use: str = "") -> None:
    """Mask this secret in all text from now on, unless it is so short that words contain it.

    ``use`` names the place where it is in use from now on, instead of the one that was before.
    Without a name it is one of the last ones that are in use no more.
    """
    global _spellings
    if len(secret) < _LENGTH_MIN:
        return
    with _lock:
        if use and _in_use.get(use) != secret:
            if use in _in_use or len(_in_use) >= _USES_MAX:
                _former.append(_in_use.pop(use if use in _in_use else next(iter(_in_use))))
            _in_use[use] = secret
        elif not use and secret not in _former and secret not in _in_use.values():
            _former.append(secret)
        else:
            return
        known = dict.fromkeys((*_in_use.values(), *_former))
        _spellings = tuple(spelling for each in known for spelling in _spelled(each))
        redact_name.cache_clear()


def redact(text: str) -> str:
    """Return the text with secrets masked, in the spellings that URLs and JSON give them."""
    for spelling in _spellings:
        text = text.replace(spelling, _MASK)
    lower = text.lower()
    # The pattern is tried at each character, so only where it can match at all; letters beyond
    # ASCII can be others in lower case.
    if not text.isascii() or any(name in lower for name in _NAMES):
        text = _PARAMETER.sub(rf"\1{_MASK}", text)
    return text


@lru_cache(maxsize=_NAMES_KEPT)
def redact_name(name: str) -> str:
    """Return the same of a name, which comes again with each call of its caller."""
    return redact(name)


def _spelled(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}


def hides_secret(text: str) -> bool:
    """Whether a piece of a registered secret is in ``text``, which may spell it in many ways.

    Escaped several times, as HTML entities, percent-encoded, in base64, spaced, in full width.
    """
    plain = text
    for _ in range(_ESCAPED_MAX):
        before = plain
        try:
            plain = unquote(html.unescape(before))
        except ValueError:  # a number of thousands of digits
            return True
        plain = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), plain)
        if plain == before:
            break
    letters = _letters(plain)
    pieces = _pieces(_spellings)
    ends = range(_PIECE_CHARS, len(letters) + 1)
    return any(letters[end - _PIECE_CHARS : end] in pieces for end in ends)


def echoes_secret(text: str) -> bool:
    """Whether a large part of a registered secret is in ``text``.

    Spaced, in full width or in base64; where there are signs of escapes, in any way that
    ``hides_secret`` knows. For long text: without those it takes microseconds for a kilobyte.
    """
    letters, pieces = _letters(text), _pieces(_spellings)
    # Side by side: a run of twice their length holds one of them.
    for start in range(0, len(letters) - _PIECE_CHARS + 1, _PIECE_CHARS):
        if letters[start : start + _PIECE_CHARS] in pieces:
            return True
    if LIKE_ESCAPES.search(text) is None:
        return False
    return len(text) > _ESCAPED_CHARS_MAX or hides_secret(text)


def _letters(text: str) -> bytes:
    """Return the letters and digits of a text, without all that may stand between them."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return text.encode("ascii", "ignore").translate(None, _NO_LETTERS)


@lru_cache(maxsize=1)
def _pieces(_: tuple[str, ...]) -> frozenset[bytes]:
    """Return all pieces of the known secrets, in letters and digits; the argument is the key."""
    with _lock:
        secrets = (*_in_use.values(), *_former)
    return frozenset[bytes]().union(*map(_pieces_of, secrets))


@lru_cache(maxsize=1024)
def _pieces_of(secret: str) -> frozenset[bytes]:
    """Return all pieces of a secret, and of it in base64, after 0, 1 and 2 other bytes."""
    secret = secret[:_SEARCHED_CHARS]
    plain = secret.encode("utf-8", "replace")
    shifted = [base64.b64encode(b"x" * pad + plain).decode()[4 if pad else 0 :] for pad in range(3)]
    pieces = set()
    for spelled in (secret, *shifted):
        letters = _letters(spelled)
        ends = range(_PIECE_CHARS, len(letters) + 1)
        pieces |= {letters[end - _PIECE_CHARS : end] for end in ends}
    return frozenset(pieces)
