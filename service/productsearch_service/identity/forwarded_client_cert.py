"""What a proxy says of its caller's certificate in ``x-forwarded-client-cert``.

The value is a list of elements, one for each proxy on the way, the nearest one's last. Each
holds ``Key=value`` pairs, split by semicolons; values with separators in them are quoted. Only
the last element counts: the ones before were told to that proxy, by whoever it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

HEADER: Final = "x-forwarded-client-cert"

_PAIR: Final = re.compile(r'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))(;|,|$)')


@dataclass(frozen=True, slots=True)
class ForwardedNames:
    """The URI and DNS names of a certificate, in their order."""

    uris: tuple[str, ...]
    dns: tuple[str, ...]


def last_element(value: str) -> ForwardedNames:
    """Return the names in the last element; raise ValueError if any element is malformed."""
    names: dict[str, list[str]] = {"uri": [], "dns": []}
    at = 0
    while True:
        pair = _PAIR.match(value, at)
        if pair is None:
            raise ValueError("not a list of Key=value pairs")
        key, quoted, plain, end = pair.groups()
        found = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if key.lower() in names and found:  # Envoy writes `URI=` for a certificate without one
            names[key.lower()].append(found)
        if not end:
            return ForwardedNames(tuple(names["uri"]), tuple(names["dns"]))
        if end == ",":
            names = {"uri": [], "dns": []}
        at = pair.end()
