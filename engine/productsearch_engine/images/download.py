"""Downloads an image from a URL that a caller chose (guarded against SSRF).

Only http and https are followed, and only to public addresses that are not this machine's
own. The address that is checked is the one that is connected to, at every redirect, so a
second name lookup cannot change it.
Size, time and redirects are bounded. No proxy is used and no credentials are sent.

Knows HTTP as a client, and how the file of an image begins.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from productsearch_engine.images import web_address
from productsearch_engine.images.bounded_answer import BoundedAnswer
from productsearch_engine.images.content_encoding import decoded
from productsearch_engine.images.download_failure import Hop
from productsearch_engine.images.errors import (
    EXHAUSTED,
    ImageError,
    ImageUnreadableError,
    NothingToSpareError,
    UrlRefusedError,
)
from productsearch_engine.images.image_file import begins_as_image
from productsearch_engine.images.own_address import is_own
from productsearch_engine.images.public_address import is_public
from productsearch_engine.images.web_address import WebAddress
from productsearch_engine.limits import CONNECT_S_MIN, DOWNLOAD_REDIRECTS_MAX, DOWNLOAD_S

_REDIRECTS = (301, 302, 303, 307, 308)
_CONTENT = (http.client.OK, http.client.NON_AUTHORITATIVE_INFORMATION)
_PAGE_BYTES = 512
"""So far what was sent is looked at for the beginning of a web page."""


class Downloader:
    """Downloads images; ``allow_private`` also admits addresses that are not public, or own."""

    def __init__(self, *, allow_private: bool):
        self._allow_private = allow_private
        self._tls = ssl.create_default_context()

    def download(self, url: str, *, any_file: bool = False) -> bytes:
        """Return the bytes at ``url``; ``any_file``: also if they begin as no image does.

        Raises UrlIllegalError, UrlTimeoutError, UrlRefusedError, ImageSizeError for more than
        4 MiB, ImageUnreadableError for what begins as no image, each with its ``failure``, and
        NothingToSpareError.
        """
        deadline = time.monotonic() + DOWNLOAD_S
        hop = Hop(_named(web_address.parse(url)))
        try:
            return self._followed(url, deadline, hop, any_file=any_file)
        except NothingToSpareError:
            raise
        except MemoryError:
            raise NothingToSpareError from None
        # Resolver, TLS and HTTP libraries raise errors of every type for what a host says.
        except Exception as error:  # noqa: BLE001
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise NothingToSpareError from None
            raise hop.failed(error, late=time.monotonic() >= deadline) from None

    def _followed(self, url: str, deadline: float, hop: Hop, *, any_file: bool) -> bytes:
        """Return the content to which redirects lead; ``hop`` is the host that is asked."""
        for _ in range(DOWNLOAD_REDIRECTS_MAX + 1):
            target = web_address.parse(url)
            hop.goes_to(_named(target))
            found = self._get(target, deadline, hop)
            if isinstance(found, bytes):
                if found and not any_file and not begins_as_image(found):
                    raise ImageUnreadableError(_kind(found))
                return found
            url = web_address.redirected(url, found)
        raise UrlRefusedError(f"redirects more than {DOWNLOAD_REDIRECTS_MAX} times")

    def _get(self, target: WebAddress, deadline: float, hop: Hop) -> bytes | str:
        """Return the content, or where a redirect points."""
        with self._connected(target, deadline, hop) as connection:
            connection.putrequest("GET", target.path, skip_accept_encoding=True)
            connection.putheader("Accept", "image/jpeg, image/png, image/bmp, */*;q=0.1")
            connection.putheader("Accept-Encoding", "identity")
            connection.putheader("User-Agent", "productsearch-engine")
            connection.putheader("Connection", "close")
            connection.endheaders()
            with connection.getresponse() as response:
                locations = response.headers.get_all("Location", [])
                if response.status in _REDIRECTS and locations:
                    return str(locations[0])  # as browsers do, where there are several
                if response.status not in _CONTENT:
                    raise UrlRefusedError(f"answered {response.status}")
                if not isinstance(response, BoundedAnswer):
                    raise TypeError("the connection has another class of answers")
                return decoded(response.content(), response.encodings)

    @contextmanager
    def _connected(
        self, target: WebAddress, deadline: float, hop: Hop
    ) -> Iterator[http.client.HTTPConnection]:
        with self._connect(target, deadline, hop) as plain, _cut_at(plain, deadline):
            channel = plain
            if target.https:
                channel = self._tls.wrap_socket(plain, server_hostname=target.host)
            # The Host header comes from these two; the socket is already connected.
            kind = http.client.HTTPSConnection if target.https else http.client.HTTPConnection
            connection = kind(target.host, target.port)
            connection.sock = channel
            connection.response_class = BoundedAnswer
            try:
                yield connection
            finally:
                connection.close()

    def _connect(self, target: WebAddress, deadline: float, hop: Hop) -> socket.socket:
        """Connect to the first admitted address that answers, and to nothing else.

        One that is silent leaves time for those behind it: many hosts have an IPv6 address that
        some networks lose.
        """
        failure: OSError = ConnectionRefusedError("no admitted address")
        named = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        found = [one for one in named if self._allow_private or _is_admitted(str(one[4][0]))]
        if named and not found:
            hop.address, hop.is_refused = str(named[0][4][0]), True
            raise UrlRefusedError
        for number, (family, kind, protocol, _, address) in enumerate(found):
            hop.address = str(address[0])
            hop.is_private = self._allow_private and not _is_admitted(hop.address)
            left_s = _left(deadline)
            attempt = socket.socket(family, kind, protocol)
            try:
                attempt.settimeout(min(left_s, max(left_s / (len(found) - number), CONNECT_S_MIN)))
                attempt.connect(address)
                attempt.settimeout(_left(deadline))
            except OSError as error:
                attempt.close()
                failure = error
            else:
                return attempt
        raise failure


def _kind(content: bytes) -> str:
    """Return what a host sent in place of an image, as far as its words are of use to a caller."""
    start = content[:_PAGE_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    is_page = start.startswith((b"<!doctype html", b"<html", b"<head", b"<script"))
    return "sent a web page" if is_page else "sent what is no JPEG, PNG or BMP"


def _is_admitted(address: str) -> bool:
    """Return whether an address is another machine's on the public internet."""
    return is_public(address) and not is_own(address)


def named_late(url: str) -> ImageError:
    """Return the error of a URL whose host's name was not looked up in time."""
    return Hop(_named(web_address.parse(url))).failed(TimeoutError(), late=True)


def _named(target: WebAddress) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@contextmanager
def _cut_at(channel: socket.socket, deadline: float) -> Iterator[None]:
    """Cut the connection at the deadline: a timeout bounds one read, not a slow drip."""
    # Its own descriptor: TLS takes the one we were given.
    with channel.dup() as cut:

        def cut_off() -> None:
            with suppress(OSError):
                cut.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(_left(deadline), cut_off)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            raise NothingToSpareError from None
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
