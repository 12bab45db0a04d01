"""What protects a page from other sites: who may send a form, and what a page may load.

Knows headers. Does not know sessions.
"""

from __future__ import annotations

from urllib.parse import SplitResult

from starlette.requests import Request
from starlette.responses import Response

from productsearch_engine.console.visit import parts_of

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""``blob:`` is for images that were chosen and not sent yet."""

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def comes_from_here(request: Request) -> bool:
    """Return whether a browser says that a page of this console sends the request.

    A client that is no browser sends neither header; its form needs the token all the same.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    parts = parts_of(origin)
    return parts is not None and _is_of(parts, request)


def _is_of(origin: SplitResult, request: Request) -> bool:
    """Return whether an origin is where a request was sent to, as browsers and proxies write it."""
    if request.url.scheme == "https" and origin.scheme != "https":
        return False
    # A proxy that ends TLS need not say so: what the port is left out of is the origin's to say.
    port = {"http": ":80", "https": ":443"}.get(origin.scheme)
    host = request.headers.get("host", "").lower()
    names = [each.removesuffix(port or "") for each in (origin.netloc.lower(), host)]
    return port is not None and names[0] == names[1]


def protect(response: Response) -> Response:
    """Add the headers that every answer of the console has, and return it."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    if "cache-control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response
