"""How the console sets its cookies: for itself alone, and read by no script."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response


def put(request: Request, response: Response, name: str, value: str, lasts_s: int) -> None:
    """Let a browser keep a cookie of the console for so long."""
    response.set_cookie(
        name,
        value,
        max_age=lasts_s,
        path="/console",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
