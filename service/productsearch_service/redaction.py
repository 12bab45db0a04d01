"""Masks secrets in text: registered ones, and the values of parameters that carry secrets.

Key pairs and tokens are registered when they arrive. They are kept apart: new tokens, of however
many libraries, take the place of old tokens alone. Beside them, the value of every parameter
whose name says that it is a secret is masked. ``hides_secret`` and ``echoes_secret`` find
registered ones in text of others, who may have spelled them otherwise.
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

_KEYS_MAX: Final = 8192
"""Halves of key pairs: those of 1,000 libraries, and of four pairs for each."""
_TOKENS_MAX: Final = 2048
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
_ESCAPE: Final = re.compile(r"\\+(?:u\{?(?:00)?|x)([0-9a-fA-F]{2})\}?")
LIKE_ESCAPES: Final = re.compile(r"%[0-9a-fA-F]{2}|&[#a-zA-Z0-9]+;|\\[ux]")
"""Text with one of these may spell letters otherwise."""
_ESCAPED_MAX: Final = 3
"""How often text may have been escaped."""

_lock = threading.Lock()
_keys: deque[str] = deque(maxlen=_KEYS_MAX)
_tokens: deque[str] = deque(maxlen=_TOKENS_MAX)
_spellings: tuple[str, ...] = ()
"""All spellings of the known secrets; replaced as a whole, so that readers need no lock."""


def register_secret(secret: str, *, is_token: bool = False) -> None:
    """Mask this secret in all text from now on, unless it is so short that words contain it.

    ``is_token``: it is one of a sequence, of which the last ones are kept.
    """
    global _spellings
    kept = _tokens if is_token else _keys
    with _lock:
        if len(secret) >= _LENGTH_MIN and secret not in kept:
            kept.append(secret)
            known = (*_keys, *_tokens)
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
        plain = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), unquote(html.unescape(plain)))
    letters = _letters(plain)
    pieces = _pieces(_spellings)
    ends = range(_PIECE_CHARS, len(letters) + 1)
    return any(letters[end - _PIECE_CHARS : end] in pieces for end in ends)


def echoes_secret(text: str) -> bool:
    """Whether a large part of a registered secret is in ``text``.

    Spaced, in full width or in base64; where there are signs of escapes, in any way that
    ``hides_secret`` knows. For long text: without those it takes microseconds for a kilobyte.
    """
    letters = _letters(text)
    if any(part in letters for part in _parts(_spellings)):
        return True
    return LIKE_ESCAPES.search(text) is not None and hides_secret(text)


def _letters(text: str) -> bytes:
    """Return the letters and digits of a text, without all that may stand between them."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return text.encode("ascii", "ignore").translate(None, _NO_LETTERS)


@lru_cache(maxsize=1)
def _pieces(_: tuple[str, ...]) -> frozenset[bytes]:
    """Return all pieces of the known secrets, in letters and digits; the argument is the key."""
    pieces = set()
    for secret in _secrets():
        for spelled in (secret, *_in_base64(secret)):
            letters = _letters(spelled)
            ends = range(_PIECE_CHARS, len(letters) + 1)
            pieces |= {letters[end - _PIECE_CHARS : end] for end in ends}
    return frozenset(pieces)


@lru_cache(maxsize=1)
def _parts(_: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return pieces side by side: a run of twice their length holds one of them."""
    found = []
    for secret in _secrets():
        for spelled in (secret, *_in_base64(secret)):
            letters = _letters(spelled)
            starts = range(0, len(letters) - _PIECE_CHARS + 1, _PIECE_CHARS)
            found += [letters[start : start + _PIECE_CHARS] for start in starts]
    return tuple(found)


def _in_base64(secret: str) -> list[str]:
    """Return a secret in base64, as it looks after 0, 1 and 2 other bytes."""
    plain = secret.encode("utf-8", "replace")
    return [base64.b64encode(b"x" * pad + plain).decode()[4 if pad else 0 :] for pad in range(3)]


def _secrets() -> list[str]:
    with _lock:
        return [secret[:_SEARCHED_CHARS] for secret in (*_keys, *_tokens)]
