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

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says of this machine, and not of a host, when a socket is wanted."""


class ImageError(Exception):
    """An image is refused. Only the subclasses are raised."""


class ImageEmptyError(ImageError):
    """The image has no bytes."""


class ImageUnreadableError(ImageError):
    """The bytes are no JPEG, PNG or BMP, or they are truncated or damaged."""


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
    """The host is private, cannot be reached, or did not answer with status 200."""


class NothingToSpareError(Exception):
    """The engine has no descriptor, memory or thread for a download: nothing is said of the URL."""
