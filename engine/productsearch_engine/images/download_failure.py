"""Says why a download failed: to the log with the cause, to the caller as far as that is safe.

A caller that is told what happens at an address that is not public could look around in a network
that is not its own. Does not connect.
"""

from __future__ import annotations

import socket
import ssl
import zlib
from dataclasses import dataclass

from productsearch_engine.images.errors import (
    DownloadFailure,
    ImageError,
    ImageSizeError,
    ImageUnreadableError,
    UrlIllegalError,
    UrlRefusedError,
    UrlTimeoutError,
)
from productsearch_engine.limits import DOWNLOAD_BYTES_MAX

_PRIVATE = "private address"
_LATE = "did not send the image in time"
_UNREADABLE = "sent an answer that cannot be read"


@dataclass
class Hop:
    """One host that is asked, as far as it is known."""

    host: str
    """Name and port."""
    address: str = ""
    """What was connected to last, or would have been."""
    is_private: bool = False
    """The address is not public, or the engine's own."""
    is_refused: bool = False
    """For that reason nothing was connected to."""

    def goes_to(self, host: str) -> None:
        """Begin with the host that a redirect names."""
        self.host, self.address, self.is_private, self.is_refused = host, "", False, False

    def failed(self, error: Exception, *, late: bool) -> ImageError:
        """Return what the download ends with; ``late``: its time is over."""
        found = error if isinstance(error, ImageError) else None
        if found is None:
            is_late = late or isinstance(error, TimeoutError)
            found = UrlTimeoutError() if is_late else UrlRefusedError()
        if self.is_refused:
            found.failure = DownloadFailure(self.host, f"{_PRIVATE} {self.address}", _PRIVATE)
            return found
        cause = _LATE if isinstance(found, UrlTimeoutError) else _cause(error)
        told = f"the host {cause}"
        if self.is_private:
            # It was fetched because the engine's settings allow it.
            told = f"{_PRIVATE}; the engine's log has the cause"
        found.failure = DownloadFailure(self.host, cause, told)
        return found


def _cause(error: Exception) -> str:
    """Return what the host did, in words that hold nothing of what it or the caller sent."""
    match error:
        case ImageSizeError():
            return f"sends more than {DOWNLOAD_BYTES_MAX >> 20} MiB"
        case UrlIllegalError():
            return "redirects to what is no URL of http or https"
        case UrlRefusedError() | ImageUnreadableError():
            return str(error) or _UNREADABLE
        case socket.gaierror():
            return "has no address"
        case ConnectionRefusedError():
            return "refused the connection"
        case ssl.SSLCertVerificationError():
            return "has a certificate that is not trusted"
        case ssl.SSLError():
            return "failed at TLS"
        case ConnectionError():
            return "ended the connection"
        case zlib.error():
            return "sent a body that cannot be unpacked"
        case OSError():
            return "cannot be reached"
        case _:
            return _UNREADABLE
