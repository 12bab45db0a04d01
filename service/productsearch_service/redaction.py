"""Masks secrets in text: the ones that are known, and what stands where secrets stand.

The last few secrets of the process are known: tokens and key pairs report here when they
arrive. Beside them, the value of every parameter that carries a secret is masked.
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
_PARAMETER: Final = re.compile(
    r"""((?:access_token|client_id|client_secret|api_key|secret_key|authorization)
        ["']?\s*(?:=|:|%3[dD])\s*["']?(?:bearer\s+)?)[^\s&"',;<>]+""",
    re.VERBOSE | re.IGNORECASE,
)

_lock = threading.Lock()
_known: deque[str] = deque(maxlen=_KNOWN_MAX)


def hide(secret: str) -> None:
    """Mask this secret in all text from now on, unless it is so short that words contain it."""
    with _lock:
        if len(secret) >= _LENGTH_MIN and secret not in _known:
            _known.append(secret)


def redact(text: str) -> str:
    """Return the text with secrets masked, in the spellings that URLs and JSON give them."""
    for secret in tuple(_known):
        for spelling in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
            text = text.replace(spelling, _MASK)
    return _PARAMETER.sub(rf"\1{_MASK}", text)
