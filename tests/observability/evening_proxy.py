"""The upstream of the evening: the real engine, behind a proxy that misbehaves on demand."""

from __future__ import annotations

import random
import time
from typing import Any

import requests

from tests.fakes.upstream import PATH, TOKEN_PATH, FakeUpstream, Fault, Received, error

_METHODS = ("add", "search", "update", "delete")


class Proxy(FakeUpstream):
    """Passes everything on, unless it is ``down`` (code 2), the token is ``revoked``, a search is
    delayed, or a share of the calls is answered with error 18."""

    def __init__(self, engine_url: str) -> None:
        super().__init__()
        self._engine_url = engine_url
        self.delay_s = self.share_of_18 = 0.0
        self.down = self.revoked = False
        self.always("token", self._token)
        for method in _METHODS:
            self.always(method, self._call)

    def _token(self, request: Received) -> Any:
        if self.revoked:
            return Fault(status=401, body=b'{"error":"invalid_client"}')
        return self._passed_on(TOKEN_PATH, request)

    def _call(self, request: Received) -> Any:
        if self.down:
            return error(2, "Service temporarily unavailable")
        if self.revoked:
            return error(110, "Access token invalid or no longer valid")
        if random.random() < self.share_of_18:
            return error(18, "Open api qps request limit reached")
        if request.method == "search" and self.delay_s:
            time.sleep(self.delay_s)
        return self._passed_on(PATH + request.method, request)

    def _passed_on(self, path: str, request: Received) -> Any:
        self.received.clear()  # an evening is long
        query = f"?{request.query}" if request.query else ""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = requests.post(
            self._engine_url + path + query, data=request.body, headers=kind, timeout=30
        )
        return Fault(status=answer.status_code, body=answer.content)
