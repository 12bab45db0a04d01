"""Parses the address of an image: scheme, host, port and path of a URL that others wrote.

A URL comes from a caller or from the ``Location`` header of a host. Both hold anything: the
parser reads each part by its own grammar and refuses the rest with one error. Does not resolve
names and does not connect.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import idna

from productsearch_engine.images.errors import UrlIllegalError
from productsearch_engine.limits import LOCATION_CHARS_MAX

_PORTS = {"http": 80, "https": 443}
_NAME_MAX = 253
# RFC 1035 and RFC 1123, and the underscore that some hosts have all the same.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SAFE_IN_PATH = "/:?#[]@!$&'()*+,;=%~"


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """Where an image is; every part is ASCII, and ``path`` includes the query."""

    https: bool
    host: str
    """A name, or an IP address without brackets."""
    port: int
    path: str


def parse(url: str) -> WebAddress:
    """Return the parts of a URL. Raises UrlIllegalError."""
    # Before anything else reads it: names are normalised, at the cost of the square of the accents
    # that follow each other, and nobody else has the interpreter meanwhile.
    if len(url) > LOCATION_CHARS_MAX:
        raise UrlIllegalError
    if any(ord(letter) <= 0x20 or ord(letter) == 0x7F for letter in url):
        raise UrlIllegalError
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UrlIllegalError from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host or "@" in parts.netloc or port == 0:
        raise UrlIllegalError
    # Only IPv6 is in brackets, and without a zone: interpreters differ in what else they admit.
    if "[" in parts.netloc and (":" not in host or "%" in host or host[0] == "v"):
        raise UrlIllegalError
    return WebAddress(
        https=scheme == "https",
        host=_host(host),
        port=port or _PORTS[scheme],
        path=_path(parts.path, parts.query),
    )


def redirected(url: str, location: str) -> str:
    """Return the URL that a ``Location`` header of ``url`` points to.

    ``location`` is the header as Latin-1 text, as HTTP libraries give it. Many hosts write raw
    UTF-8 and blanks there, and browsers follow them. Raises UrlIllegalError.
    """
    if len(location) > LOCATION_CHARS_MAX:
        raise UrlIllegalError
    location = location.strip(" \t\r\n").replace("\\", "/")  # as browsers do
    with suppress(UnicodeError):  # else it is Latin-1
        location = location.encode("latin-1").decode()
    try:
        return urljoin(url, location.replace(" ", "%20"))
    except ValueError:
        raise UrlIllegalError from None


def _host(host: str) -> str:
    """Return the ASCII form of a name or an IP address."""
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise UrlIllegalError from None
    try:
        # UTS 46 without transition, as browsers do: "straße.de" is not "strasse.de".
        name = host if host.isascii() else idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise UrlIllegalError from None
    labels = name.removesuffix(".").split(".")
    if len(name) > _NAME_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlIllegalError
    return name


def _path(path: str, query: str) -> str:
    """Return path and query with everything escaped that a request line cannot hold."""
    try:
        return quote((path or "/") + (f"?{query}" if query else ""), safe=_SAFE_IN_PATH)
    except UnicodeError:  # a lone surrogate
        raise UrlIllegalError from None
