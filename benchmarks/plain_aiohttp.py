"""Posts forms with aiohttp and nothing else: what transport and facade are compared with."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import aiohttp
from yarl import URL

from benchmarks import forms


class Poster:
    """A session to one upstream that adds nothing to a request; for the running loop."""

    def __init__(self, url: str, bundle: Path | None) -> None:
        tls = ssl.create_default_context(cafile=bundle) if bundle else True
        self._url = url
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            timeout=aiohttp.ClientTimeout(total=forms.TIMEOUT_S),
        )

    def ready(self, rpc: str, size_bytes: int) -> Callable[[], Awaitable[None]]:
        """Return what posts the ready form of an image, and raises unless it is answered well."""
        return partial(self.post, rpc, forms.form_of(size_bytes))

    async def post(self, rpc: str, body: bytes) -> None:
        """Post a form; raise unless it is answered well."""
        # aiohttp warns of bytes over 1 MiB: they would hold the loop while they are sent.
        data = body if len(body) <= forms.AT_ONCE_BYTES_MAX else forms.pieces(body)
        async with self._session.post(
            URL(self._url + forms.target(rpc), encoded=True),
            data=data,
            headers={**forms.HEADERS, "Content-Length": str(len(body))},
        ) as response:
            forms.check(response.status, await response.read())

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
