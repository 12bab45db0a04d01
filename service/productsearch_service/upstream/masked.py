"""Text, bytes and JSON objects that may hold a secret and whose ``repr`` is a mask.

Tracebacks with locals, error trackers and careless log lines show ``repr``. A masked value is an
ordinary str, bytes or dict to whoever uses it. What is derived from it (a slice, a sum) is not
masked any more, so it must not be bound to a name.
"""

from __future__ import annotations

from typing import Any, Final

_MASK: Final = "'***'"


class MaskedText(str):
    """A str with a masked repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _MASK


class MaskedBytes(bytes):
    """Bytes with a masked repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _MASK


class MaskedMembers(dict[str, Any]):
    """The members of a JSON object, with a masked repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _MASK
