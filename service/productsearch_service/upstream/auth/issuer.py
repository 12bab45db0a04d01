"""Asks the token endpoint for an access token.

The key pair travels in a POST form, never in the URL: URLs end up in logs and in spans. Each
request has a connection of its own: a token is needed about once a month.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.errors import ServiceError, UpstreamCredentialsRejected
from productsearch_service.upstream.auth import token_answer
from productsearch_service.upstream.auth.credentials import Credentials, KeyPair
from productsearch_service.upstream.auth.token import Issued
from productsearch_service.upstream.http.failure import TransportFailure
from productsearch_service.upstream.http.names import Names
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedBytes, MaskedText

_PATH: Final = "/oauth/2.0/token"
_THREADS_MAX: Final = 4
"""A flight and a look for a new key pair need one each. The others are for threads that a file
system holds beyond the end of their call. None is of the event loop's default executor."""


class TokenIssuer:
    """The token endpoint for the current key pair, which can be replaced while in use.

    A pair becomes the current one by getting a token: a new pair that the endpoint rejects, and
    files that are empty or gone, change nothing. ``base_url`` is the upstream's; its certificate
    is verified against ``ca_bundle`` (None: against the public authorities). ``count`` is told the
    outcome of each request for a new pair's token; those for the current pair's are TokenSource's.
    """

    def __init__(
        self,
        base_url: str,
        ca_bundle: Path | None,
        credentials: Credentials,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._base_url, self._ca_bundle = base_url, ca_bundle
        self._names = Names()
        self._credentials = credentials
        self._count = count
        self._threads = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="token")
        self._proven: KeyPair | None = None
        self._failed: KeyPair | None = None
        self._again_at_s = 0.0
        self._asked = False
        self.not_taken: tuple[KeyPair | None, ServiceError] | None = None
        """What cannot replace the current pair, and why; no pair: it cannot be read."""

    async def __call__(self) -> Issued:
        """Return a new token for the current pair, within limits.TOKEN_FETCH_TIMEOUT_S.

        Raises UpstreamCredentialsRejected if the pair is no good, UpstreamUnavailable if the
        endpoint cannot be reached or its answer makes no sense.
        """
        end = Deadline.after(limits.TOKEN_FETCH_TIMEOUT_S)
        current = self._proven
        try:
            pair = current or await self._read(end)
            issued = await self._issue(pair, end)
        finally:
            self._asked = True
        if self._proven is current:  # else it was replaced while we asked
            self._proven = pair
        return issued

    async def replaced(self) -> Issued | None:
        """Return a token for a new pair if the credentials hold one that works, else None.

        A pair that has just failed is left alone for a while; and until the first flight has
        ended, there is nothing to replace.
        """
        if not self._asked:
            return None
        end = Deadline.after(limits.TOKEN_FETCH_TIMEOUT_S)
        pair, is_first = None, self._proven is None
        try:
            pair = await self._read(end)
            if pair == self._proven:
                self.not_taken = None
                return None
            if pair == self._failed and time.monotonic() < self._again_at_s:
                return None
            issued = await self._counted(pair, end)
        except ServiceError as error:
            self.not_taken = None if is_first else (pair, error)
            return None
        self._proven, self.not_taken = pair, None
        return issued

    def close(self) -> None:
        """Give the threads back; for after the last call."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read(self, end: Deadline) -> KeyPair:
        """Return what the credentials hold now; the volume that they are on may hang."""
        reads = asyncio.get_running_loop().run_in_executor(self._threads, self._credentials.read)
        try:
            async with end.timeout():
                return await reads
        except TimeoutError:
            pass
        raise UpstreamCredentialsRejected("the credentials could not be read in time")

    async def _counted(self, pair: KeyPair, end: Deadline) -> Issued:
        try:
            issued = await self._issue(pair, end)
        except ServiceError as error:
            self._count(error.reason)
            raise
        self._count("ok")
        return issued

    async def _issue(self, pair: KeyPair, end: Deadline) -> Issued:
        outcome = await self._ask(pair, end)
        if isinstance(outcome, Issued):
            return outcome
        hopeless = isinstance(outcome, UpstreamCredentialsRejected)
        wait_s = limits.TOKEN_GATE_MAX_S if hopeless else limits.TOKEN_RETRY_S
        self._failed, self._again_at_s = pair, time.monotonic() + wait_s
        # Raised here, where no other exception is being handled that could be its context.
        raise outcome

    async def _ask(self, pair: KeyPair, end: Deadline) -> Issued | ServiceError:
        transport = Transport(self._base_url, self._ca_bundle, names=self._names)
        try:
            status, body, _ = await transport.post(_PATH, MaskedText(), (_form(pair),), end)
        except TransportFailure as failure:
            return token_answer.no_token(failure.what, failure.cause)
        finally:
            await transport.close()
        return token_answer.read(status, body)


def _form(pair: KeyPair) -> MaskedBytes:
    return MaskedBytes(
        urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": pair.api_key,
                "client_secret": pair.secret_key,
            }
        ).encode()
    )
