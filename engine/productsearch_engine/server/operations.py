"""The endpoints for operators: health and metrics.

They are in ``server`` because they are no part of the contract and tell of the whole process.
Both answer from memory: neither waits for the database.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from productsearch_engine.database.watch import Watch
from productsearch_engine.metrics import Metrics


class Operations:
    """Health of the database that ``watch`` watches and the counters of ``metrics``."""

    def __init__(self, watch: Watch, metrics: Metrics):
        self._watch = watch
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """Return the routes of both endpoints."""
        return [Route("/healthz", self.health), Route("/metrics", self.metrics)]

    async def health(self, _request: Request) -> Response:
        """Answer 200 while the database answers, else 503; the text tells of a full disk."""
        if self._watch.is_down:
            return JSONResponse({"status": "database unavailable"}, 503)
        if self._watch.disk_is_full():
            return JSONResponse({"status": "disk full: adds are refused"})
        return JSONResponse({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """Answer everything that is counted in Prometheus' format."""
        content, kind = self._metrics.encoded(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})
