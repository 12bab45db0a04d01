"""The endpoints for operators: health and metrics.

They are in ``server`` because they are no part of the contract and tell of the whole process.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from productsearch_engine.database.pool import ping
from productsearch_engine.limits import HEALTH_WAIT_S
from productsearch_engine.metrics import CONTENT_TYPE, Metrics


class Operations:
    """Health of the database behind ``pool`` and the counters of ``metrics``."""

    def __init__(self, pool: ConnectionPool[Any], metrics: Metrics):
        self._pool = pool
        self._metrics = metrics
        # A thread of its own: the probe must not wait behind calls.
        self._probe = ThreadPoolExecutor(1, "probe")

    def routes(self) -> list[Route]:
        """Return the routes of both endpoints."""
        return [Route("/healthz", self.health), Route("/metrics", self.metrics)]

    async def health(self, _request: Request) -> Response:
        """Answer 200 while the database answers, else 503."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HEALTH_WAIT_S + 1):
                await loop.run_in_executor(self._probe, ping, self._pool, HEALTH_WAIT_S)
        except (psycopg.Error, TimeoutError):
            return JSONResponse({"status": "database unavailable"}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(self, _request: Request) -> Response:
        """Answer the counters in Prometheus' text format."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)
