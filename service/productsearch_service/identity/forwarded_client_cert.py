"""What a proxy says of its caller's certificate in ``x-forwarded-client-cert``.

The value is a list of elements, one for each proxy on the way, the nearest one's last. Each holds
``Key=value`` pairs, split by semicolons. Only the last element counts: the ones before were told to
that proxy, by whoever it was.

Envoy writes the names of a certificate as they are, without quotes. A name with a comma in it reads
like another element, so a header is believed only if it can have come from ordinary names: each
element has exactly one URI, and no element but a lone one has DNS names, which stand last in it.
"""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "x-forwarded-client-cert"
URI_CHARS_MAX: Final = 2048
"""The longest SPIFFE id."""

_PAIR: Final = re.compile(r'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))(;|,|$)')
_DNS: Final = re.compile(r"[A-Za-z0-9*._-]{0,253}")


def last_uri(value: str) -> str:
    """Return the URI of the last element; raise ValueError with what is wrong with the header."""
    elements: list[list[str]] = [[]]
    names_dns = follows_dns = False
    at, end = 0, ";"
    while end:
        pair = _PAIR.match(value, at)
        if pair is None:
            raise ValueError("is not a list of Key=value pairs")
        key, quoted, plain, end = pair.groups()
        found = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if key.lower() == "dns":
            names_dns = follows_dns = True
            if not _DNS.fullmatch(found):
                raise ValueError("has a DNS name that is not one")
        elif follows_dns:  # a name with a semicolon in it reads like this
            raise ValueError("has something else after a DNS name; let proxies send URIs only")
        elif key.lower() == "uri" and found:  # Envoy writes `URI=` for a certificate without one
            elements[-1].append(found)
        if end == ",":
            elements.append([])
            follows_dns = False
        at = pair.end()
    if any(len(uris) != 1 or len(uris[0]) > URI_CHARS_MAX for uris in elements):
        raise ValueError("does not have exactly one URI in each element")
    if names_dns and len(elements) > 1:
        raise ValueError("has DNS names in a list of several elements; let proxies send URIs only")
    return elements[-1][0]
