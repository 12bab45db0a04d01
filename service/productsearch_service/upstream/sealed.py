"""Text, bytes and JSON objects that may hold a secret and do not show it.

Tracebacks with locals, error trackers and careless log lines show ``repr``. A sealed value is
an ordinary str, bytes or dict for whoever uses it, and its ``repr`` is a mask. What is made from it
(a slice, a sum) is not sealed any more: whoever makes something keeps it out of names.
"""

from __future__ import annotations

from typing import Any, Final

_MASK: Final = "'***'"


class SealedText(str):
    """A str with a masked repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _MASK


class SealedBytes(bytes):
    """Bytes with a masked repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _MASK


class SealedMembers(dict[str, Any]):
    """The members of a JSON object, with a masked repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _MASK
