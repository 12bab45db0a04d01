"""Every reason why an image, or the URL it is at, is refused.

::

    ImageError
    ├── ImageEmptyError
    ├── ImageUnreadableError
    ├── ImageSizeError
    ├── UrlIllegalError
    ├── UrlTimeoutError
    └── UrlRefusedError

Does not know the contract's codes: ``api.error_mapping`` gives each reason its code.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says of this machine, and not of a host, when a socket is wanted."""


@dataclass(frozen=True)
class DownloadFailure:
    """Why an image did not come from its URL, of which nothing but the host and port is here.

    ``host`` and ``cause`` are for the log. ``told`` is what its caller may know: of an address
    that is not public, no more than that; empty if there is nothing to tell.
    """

    host: str
    cause: str
    told: str = ""


class ImageError(Exception):
    """An image is refused. Only the subclasses are raised."""

    failure: DownloadFailure | None = None
    """What went wrong at its host; None: it was sent, or its URL was not looked at."""


class ImageEmptyError(ImageError):
    """The image has no bytes."""


class ImageUnreadableError(ImageError):
    """The bytes are no JPEG, PNG or BMP, or they are truncated or damaged.

    The argument, if there is one, says in words of ours what a host sent.
    """


class ImageSizeError(ImageError):
    """A side is too short or too long, or a download has too many bytes.

    ``sides``: width and height in pixels, where they are what is wrong.
    """

    def __init__(self, sides: tuple[int, int] | None = None):
        self.sides = sides
        super().__init__()


class UrlIllegalError(ImageError):
    """The URL cannot be parsed, or it is not http(s), or it holds a user name."""


class UrlTimeoutError(ImageError):
    """The host did not send the image in time."""


class UrlRefusedError(ImageError):
    """The host is private, cannot be reached, or did not answer with status 200.

    The argument, if there is one, says in words of ours what the host did.
    """


class NothingToSpareError(Exception):
    """The engine has no descriptor, memory or thread for a download: nothing is said of the URL."""
