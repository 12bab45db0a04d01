"""Sends one POST and returns the answer's bytes; the only room that imports an HTTP library.

Secrets travel in the URL, and requests puts the URL into the text of nearly every exception.
So nothing of requests leaves this room: a failure is a TransportFailure with a fixed word,
raised without its cause. A prepared request goes straight to the mounted adapter: no proxies,
``.netrc`` or cookies from the environment, no redirects, and half of the CPU of
``session.post`` on small calls.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Final, cast

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from productsearch_service import limits
from productsearch_service.upstream import punctual
from productsearch_service.upstream.connections import OneHostAdapter, UnansweredError
from productsearch_service.upstream.sealed import SealedBytes, SealedText

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from requests.structures import CaseInsensitiveDict

    from productsearch_service.deadline import Deadline

_HEADERS: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
}
_READ_BYTES: Final = 65_536
_NOT_SENT: Final = (NewConnectionError, ConnectTimeoutError)

# These log URLs, and with them the token: each call at DEBUG, a bad header line at WARNING with
# a traceback. A filter holds whatever level anyone sets.
for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(lambda _: False)


class TransportFailure(Exception):
    """No whole answer came.

    ``maybe_done``: whether the request can have reached the upstream and been carried out.
    ``stale``: it was sent on a connection from before, which ended without a byte of an answer;
    that says nothing of the upstream, and the next attempt gets a new connection.
    """

    def __init__(self, what: str, *, maybe_done: bool, stale: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.maybe_done = maybe_done
        self.stale = stale


class Transport:
    """A pool of connections to one host. Thread-safe."""

    def __init__(self, base_url: str, ca_bundle: Path | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._adapter = OneHostAdapter(self._base_url, ca_bundle)

    def __repr__(self) -> str:
        return f"Transport({self._base_url!r})"

    def post(
        self, path: str, query: SealedText, body: Sequence[bytes | memoryview], deadline: Deadline
    ) -> tuple[int, SealedBytes]:
        """POST a form, given in pieces, and return HTTP status and body, both whatever they are.

        Raises TransportFailure where no whole answer came before the deadline.
        """
        request = requests.PreparedRequest()
        request.method = "POST"
        request.url = SealedText(f"{self._base_url}{path}{query}")
        headers = _HEADERS | {"Content-Length": str(sum(map(len, body)))}
        request.headers = cast("CaseInsensitiveDict[str]", headers)
        request.body = cast("bytes", body)  # iterables of bytes are written piece by piece
        outcome = self._send(request, deadline)
        # Raised here, where no foreign exception is being handled: it would be kept as the
        # context of ours, and its text holds the URL.
        if isinstance(outcome, TransportFailure):
            raise outcome
        return outcome

    def _send(
        self, request: requests.PreparedRequest, deadline: Deadline
    ) -> tuple[int, SealedBytes] | TransportFailure:
        punctual.until(deadline)
        remaining_s = max(deadline.remaining_s(), 0.001)
        try:
            response = self._adapter.send(
                request,
                stream=True,
                timeout=(min(limits.CONNECT_TIMEOUT_S, remaining_s), remaining_s),
            )
        except UnansweredError as error:
            return TransportFailure("broke off", maybe_done=error.sent, stale=True)
        except requests.RequestException as error:
            return _failure_of(error)
        except (HTTPError, OSError, ValueError):
            return TransportFailure("broke off", maybe_done=True)
        try:
            content = _read(response)
        finally:
            response.close()
        return content if isinstance(content, TransportFailure) else (response.status_code, content)

    @property
    def idle_connections(self) -> int:
        """How many connections wait for their next call."""
        return self._adapter.idle_connections

    def close(self) -> None:
        """Close all idle connections."""
        self._adapter.close()


def _read(response: requests.Response) -> SealedBytes | TransportFailure:
    """Read the body, which ends at the deadline if not before."""
    pieces: list[bytes] = []
    length = 0
    try:
        while piece := SealedBytes(response.raw.read1(_READ_BYTES, decode_content=True)):
            pieces.append(piece)
            length += len(piece)
            if length > limits.ANSWER_BYTES_MAX:
                return TransportFailure("answered too much", maybe_done=True)
    except (HTTPError, OSError, ValueError):
        return TransportFailure("broke off while it answered", maybe_done=True)
    body = SealedBytes(b"".join(pieces))
    told = response.headers.get("content-length", "").isdigit()
    framed = told or "transfer-encoding" in response.headers
    if not framed and not body.rstrip().endswith(b"}"):
        # Only the end of the connection ended it: cut in the head or body, for all we know.
        return TransportFailure("broke off while it answered", maybe_done=True)
    return body


def _failure_of(error: requests.RequestException) -> TransportFailure:
    """Tell what cannot have been sent from what may have been carried out."""
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(cause, SSLError):
        # Any other TLS error can come after the request was written.
        untrusted = isinstance(cause.args[0], ssl.SSLCertVerificationError)
        return TransportFailure("failed TLS verification", maybe_done=not untrusted)
    if isinstance(cause, _NOT_SENT) or isinstance(error, requests.ConnectTimeout):
        return TransportFailure("cannot be connected to", maybe_done=False)
    if isinstance(error, requests.Timeout):
        return TransportFailure("was too slow", maybe_done=True)
    return TransportFailure("broke off", maybe_done=True)
