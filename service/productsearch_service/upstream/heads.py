"""Reads the head of a plain HTTP answer in one step.

``http.client`` gives each head to a parser of e-mail, which takes three to four times as long.
Whatever is not plain is left to it: ``read`` then says None. Knows nothing of what the answer is
about.
"""

from __future__ import annotations

import re
from http.client import HTTPMessage
from typing import Final, NamedTuple

_PLAIN: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([ -~]*)\r\n"
    rb"((?:[A-Za-z0-9_-]+:[\t -~]*\r\n){1,64})\r\n"
)
_LENGTH: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_WITHOUT_BODY: Final = frozenset({204, 304})


class Head(NamedTuple):
    """The head of an answer whose body has a length and leaves its connection open."""

    status: int
    reason: str
    headers: HTTPMessage
    body_bytes: int
    head_bytes: int
    """With the empty line that ends it."""


def read(content: bytes) -> Head | None:
    """Return the head that ``content`` begins with; None where it is not whole or not plain."""
    match = _PLAIN.match(content)
    if match is None:
        return None
    status = int(match[1])
    headers = HTTPMessage()
    for line in match[3].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        headers[name] = value.lstrip(" \t")
    lengths = headers.get_all("content-length", [])
    plain = (
        len(lengths) == 1
        and _LENGTH.fullmatch(lengths[0])
        and "transfer-encoding" not in headers
        and "close" not in headers.get("connection", "").lower()
        and status not in _WITHOUT_BODY
    )
    if not plain:
        return None
    return Head(status, match[2].decode("ascii").strip(), headers, int(lengths[0]), match.end())
