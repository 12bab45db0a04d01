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
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple
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
_HALF_CHARS: Final = _PIECE_CHARS // 2
_SORTED_CHARS: Final = 64
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
    try:
        return _has_piece(_letters(_unescaped(text)))
    except ValueError:  # a number of thousands of digits
        return True


def echoes_secret(text: str) -> bool:
    """Whether a piece of a registered secret is in ``text``, or it may be.

    Text with signs of escapes that is longer than a brief is not read.
    """
    if _has_piece(_letters(text)):
        return True
    if LIKE_ESCAPES.search(text) is None:
        return False
    return len(text) > _ESCAPED_CHARS_MAX or hides_secret(text)


def echo_secrets(texts: Sequence[str]) -> bool:
    """Whether ``echoes_secret`` may be true of one of these: False is sure.

    For many of them: they are read in one go, which takes a part of the time.
    """
    if _has_piece(_letters("".join(texts))):
        return True
    escaped = [text for text in texts if LIKE_ESCAPES.search(text)]
    return bool(escaped) and hides_secret("\n".join(escaped))


def _unescaped(text: str) -> str:
    """Return what a text spells; raise ValueError for a number of thousands of digits."""
    for _ in range(_ESCAPED_MAX):
        before = text
        text = unquote(html.unescape(before))
        text = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
        if text == before:
            break
    return text


def _letters(text: str) -> bytes:
    """Return the letters and digits of a text, without all that may stand between them.

    A letter in full width is the letter, one with an accent the letter without it.
    """
    if not unicodedata.is_normalized("NFKD", text):
        # Accents that follow each other are sorted, at the cost of their square.
        starts = range(0, len(text), _SORTED_CHARS)
        parts = (text[start : start + _SORTED_CHARS] for start in starts)
        text = "".join([unicodedata.normalize("NFKD", part) for part in parts])
    return text.encode("ascii", "ignore").translate(None, _NO_LETTERS)


def _has_piece(letters: bytes) -> bool:
    """Whether one of the pieces is in ``letters``.

    Each piece holds a half that begins at a multiple of its length: only around such a one the
    pieces are looked for.
    """
    known = _pieces(_spellings)
    for at in range(0, len(letters) - _HALF_CHARS + 1, _HALF_CHARS):
        if letters[at : at + _HALF_CHARS] in known.halves:
            starts = range(max(0, at - _HALF_CHARS), at + 1)
            if any(letters[start : start + _PIECE_CHARS] in known.whole for start in starts):
                return True
    return False


class _Pieces(NamedTuple):
    """Pieces of the known secrets, in letters and digits, and halves of pieces."""

    whole: frozenset[bytes]
    halves: frozenset[bytes]


@lru_cache(maxsize=1)
def _pieces(_: tuple[str, ...]) -> _Pieces:
    """Return the pieces of all known secrets; the argument is the key."""
    with _lock:
        secrets = (*_in_use.values(), *_former)
    whole = frozenset[bytes]().union(*map(_pieces_of, secrets))
    starts = range(_PIECE_CHARS - _HALF_CHARS + 1)
    halves = frozenset(piece[start : start + _HALF_CHARS] for piece in whole for start in starts)
    return _Pieces(whole, halves)


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
