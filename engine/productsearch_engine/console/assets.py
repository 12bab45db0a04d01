"""The console's style, scripts and icons, each at an address that changes with its content.

Read once. Knows files.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, field
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

_VENDORED = "vendor/uplot/"
_KINDS = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "no-copy.svg": "image/svg+xml",
    "uplot.css": "text/css; charset=utf-8",
    "uplot.js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, kw_only=True)
class _Asset:
    kind: str
    digest: str
    content: bytes = field(repr=False)
    compressed: bytes = field(repr=False)
    """As gzip: a page is not seen before its style has come."""


def _read(name: str, kind: str) -> _Asset:
    place = _VENDORED + name if name.startswith("uplot.") else name
    content = (files(__package__) / "static" / place).read_bytes()
    return _Asset(
        kind=kind,
        digest=hashlib.sha256(content).hexdigest()[:16],
        content=content,
        compressed=gzip.compress(content, mtime=0),
    )


_ASSETS = {name: _read(name, kind) for name, kind in _KINDS.items()}


def address(name: str) -> str:
    """Return where a file is."""
    return f"/console/static/{_ASSETS[name].digest}/{name}"


async def answer(request: Request) -> Response:
    """Answer with a file; an old digest gets the present one, and is not remembered."""
    asset = _ASSETS.get(request.path_params["name"])
    if asset is None:
        return Response(status_code=404)
    current = request.path_params["digest"] == asset.digest
    caching = "public, max-age=31536000, immutable" if current else "no-cache"
    headers = {"Cache-Control": caching, "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(asset.content, media_type=asset.kind, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(asset.compressed, media_type=asset.kind, headers=headers)
