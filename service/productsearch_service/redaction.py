"""Masks secrets in text: registered ones, and the values of parameters that carry secrets.

Tokens and key pairs are registered when they arrive; the last few are kept. Beside them, the
value of every parameter whose name says that it is a secret is masked.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from typing import Final
from urllib.parse import quote

_KNOWN_MAX: Final = 64
_LENGTH_MIN: Final = 8
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

_lock = threading.Lock()
_known: deque[str] = deque(maxlen=_KNOWN_MAX)
_spellings: tuple[str, ...] = ()
"""All spellings of the known secrets; replaced as a whole, so that readers need no lock."""


def register_secret(secret: str) -> None:
    """Mask this secret in all text from now on, unless it is so short that words contain it."""
    global _spellings
    with _lock:
        if len(secret) >= _LENGTH_MIN and secret not in _known:
            _known.append(secret)
            _spellings = tuple(spelling for known in _known for spelling in _spelled(known))


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


def _spelled(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
