"""Forms both ways: the service's encoder beside the standard library's; bad ones for the engine."""

from __future__ import annotations

import base64
import logging
import random
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, urlencode

from productsearch_engine.api import forms
from productsearch_engine.api.codes import ApiError
from productsearch_engine.limits import FIELDS_MAX
from productsearch_service.images import form_encoding
from tests.soak.fuzz_told import tell
from tests.soak.measures import Measure, at_least, equal

_EVERY_LENGTH_FROM: Final = 1_000_000
"""From this size of the soak on, every length up to 4096 is encoded."""


def compare_encoders(size: int, seed: int) -> Iterator[Measure]:
    """Encode images of many lengths; compare with the standard library byte by byte."""
    chance = random.Random(seed)
    content = chance.randbytes(4096)
    sizes = [*range(4097)] if size >= _EVERY_LENGTH_FROM else [*range(0, 4097, 16), 4095, 4096]
    large = [chance.randrange(4096, 3_200_000) for _ in range(max(2, size // 10_000))]
    differing = 0
    for count in [*sizes, *large]:
        image = content[:count] if count <= 4096 else chance.randbytes(count)
        expected = urlencode({"image": base64.b64encode(image)}).encode()
        differing += expected != b"image=" + form_encoding.encode(image)
    yield equal(f"encoder: differing of {len(sizes)} small, {len(large)} large", differing, 0)


_TELLING: Final = (b"%", b"&", b"=", b"+", b"2", b"B", b"f", b"%2", b"%2B", b"%zz", b"\0", b";",
                   b"--x", b"\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="a"',
                   b"--x--\r\n", b"image")  # fmt: skip
_KINDS: Final = ("", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                 "multipart/form-data", "multipart/form-data; boundary=" + "y" * 300, ";=", "\xff",
                 'multipart/form-data; boundary="x', "text/plain")  # fmt: skip


def feed_forms(size: int, seed: int) -> Iterator[Measure]:
    """Feed forms of telling pieces; what is read has to be what the standard library reads."""
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # one line for each bad body
    chance = random.Random(seed)
    uncaught = differing = read = 0
    for _ in range(size):
        kind = chance.choice(_KINDS)
        parts = [
            chance.choice(_TELLING) if chance.random() < 0.8 else chance.randbytes(3)
            for _ in range(chance.randrange(60))
        ]
        body = b"".join(parts)
        try:
            fields = forms.parse(kind, body)
        except ApiError:
            continue
        except Exception as error:  # noqa: BLE001 - as above
            tell("forms", f"{error!r:.200} for {kind!r} {body!r}")
            uncaught += 1
            continue
        read += 1
        if "multipart" not in kind and body.count(b"&") < FIELDS_MAX:
            differing += _parsed(body) != fields
    yield equal(f"forms: uncaught of {size}", uncaught, 0)
    yield equal("forms: other than parse_qsl", differing, 0)
    yield at_least("forms: read", read, size / 4)


def _parsed(body: bytes) -> dict[bytes, bytes]:
    """Return what the standard library reads, as Latin-1, where every byte is one letter."""
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return {name.encode("latin-1"): value.encode("latin-1") for name, value in pairs}
