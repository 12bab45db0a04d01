"""What must not be heard: the secrets of a seed, and their spellings.

Runs of them are found in megabytes of text. Knows nothing of where the text is from.
"""

from __future__ import annotations

import base64
import html
import json
import random
import re
import string
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import numpy as np

RUN_CHARS: Final = 12
"""So many characters of a secret in a row are a leak."""
_TOKEN_CHARACTERS: Final = string.ascii_letters + string.digits + "-._~+/="


@dataclass(frozen=True)
class Secrets:
    """A key pair and the tokens that it gets; all of it random."""

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    tokens: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, seed: int) -> Secrets:
        """Return the secrets of a seed."""
        chance = random.Random(seed)
        letters = string.ascii_letters + string.digits
        vendors = [
            f"24.{chance.randbytes(16).hex()}.2592000.{chance.randrange(10**9, 10**10)}."
            f"{chance.randrange(10**5, 10**6)}-{chance.randrange(10**7, 10**8)}"
            for _ in range(4)
        ]
        others = ["".join(chance.choices(_TOKEN_CHARACTERS, k=70)) for _ in range(4)]
        return cls(
            "".join(chance.choices(letters, k=24)),
            "".join(chance.choices(letters, k=32)),
            (*vendors, *others),
        )


def spellings(secret: str) -> dict[str, str]:
    """Return the ways in which a text can have the secret in it."""
    quoted = quote(secret, safe="")
    plain = {
        "plain": secret,
        "percent": quoted,
        "percent, lower case": re.sub("%..", lambda escape: escape[0].lower(), quoted),
        "JSON": json.dumps(secret)[1:-1],
        "JSON, escaped slashes": secret.replace("/", "\\/"),
    }
    for pad in range(3):
        encoded = base64.b64encode(b"x" * pad + secret.encode()).decode()[4 if pad else 0 : -4]
        plain[f"base64, offset {pad}"] = encoded
        plain[f"base64url, offset {pad}"] = encoded.translate(str.maketrans("+/", "-_"))
    return plain


def spelled_out(text: str) -> str:
    """Return a text without escapes, entities, wide letters and what stands between letters."""
    for _ in range(3):
        text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), text)
        text = html.unescape(text)
    text = unicodedata.normalize("NFKC", text)
    return re.sub(r"[\s\u200b]+", "", text)


class Pieces:
    """Finds runs of a secret in megabytes: the first 8 bytes of a run index a table of bits."""

    _FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
    _SHIFT: Final = np.uint64(64 - 22)

    def __init__(self, secrets: Secrets) -> None:
        named = [("API key", secrets.api_key), ("secret key", secrets.secret_key)]
        named += [("token", token) for token in secrets.tokens]
        self._known: dict[bytes, str] = {}
        for name, secret in named:
            for spelling, text in spellings(secret).items():
                for at in range(len(text) - RUN_CHARS + 1):
                    run = text[at : at + RUN_CHARS].encode()
                    self._known.setdefault(run, f"{name}, {spelling}")
        self._slots = np.zeros(1 << 22, dtype=np.bool_)
        for run in self._known:
            self._slots[self._slot(np.frombuffer(run[:8], dtype="<u8"))] = True

    def _slot(self, windows: Any) -> Any:
        with np.errstate(over="ignore"):
            return ((windows * self._FACTOR) >> self._SHIFT).astype(np.intp)

    def found(self, text: str | bytes) -> list[str]:
        """Return which secrets, in which spellings, have runs in the text."""
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        if len(data) < RUN_CHARS:
            return []
        count = len(data) - RUN_CHARS + 1
        windows = np.ndarray((count,), dtype="<u8", buffer=data, strides=(1,))
        candidates = np.flatnonzero(self._slots[self._slot(windows)])
        runs = {data[at : at + RUN_CHARS] for at in candidates.tolist()}
        return sorted({self._known[run] for run in runs if run in self._known})
