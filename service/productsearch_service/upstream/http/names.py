"""Looks up the addresses of an upstream's name, in threads of its own.

The event loop's own look-ups share few threads of the process: one name server that does not answer
would keep every library from its connections. Here a name has one thread at most, whoever waits
for it and however long it takes, and a name that was known once stays known for a while (as RFC
8767 has it).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from productsearch_service import limits

Found = list[tuple[Any, Any, int, str, Any]]
"""As ``socket.getaddrinfo`` returns it."""
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


_GONE: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
"""The name server has answered: the name is not there, or has no address."""


@dataclass(slots=True)
class _Known:
    """The addresses of a name, since when no answer has confirmed them, and one denies them."""

    addresses: list[ResolveResult]
    doubted_since_s: float = math.inf
    gone_since_s: float = math.inf

    def are_too_old(self, now_s: float) -> bool:
        """Whether they may not be used any more."""
        return now_s > min(
            self.doubted_since_s + limits.NAME_SILENT_S, self.gone_since_s + limits.NAME_GONE_S
        )


class Names(AbstractResolver):
    """Addresses of names, for one event loop at a time.

    A look-up may take ``within_s``. Where it fails or takes longer, the last known addresses are
    used again, for ``NAME_SILENT_S``; where the name is said to have none any more, for
    ``NAME_GONE_S``: somebody else may be given them, and by plain HTTP nobody is verified. Silence
    after such an answer takes nothing of it back. An answer that comes when nobody waits any more
    is good for this, and is not taken for the next look-up's.
    """

    def __init__(
        self,
        within_s: float = limits.CONNECT_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._within_s = within_s
        self._clock = clock
        self._known: dict[tuple[str, int], _Known] = {}
        self._under_way: dict[tuple[str, int], asyncio.Future[Found]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return where to connect to; raise OSError, TimeoutError where no answer came."""
        name = (host, port)
        known = self._known.get(name)
        found = self._under_way.get(name)
        if found is None or found.get_loop() is not asyncio.get_running_loop():
            found = self._under_way[name] = self._begun(host, port, family)
        patience_s = min(limits.NAME_PATIENCE_S, self._within_s) if known else self._within_s
        await asyncio.wait({found}, timeout=patience_s)
        if not found.done():
            late = TimeoutError(errno.ETIMEDOUT, "no name server answers")
            return self._again(name, late, is_gone=False)
        error = found.exception()
        if error is None and (addresses := _addresses(host, found.result())):
            return addresses
        is_gone = error is None or getattr(error, "errno", None) in _GONE
        return self._again(name, error or OSError(None, "the name has no address"), is_gone=is_gone)

    def _again(
        self, name: tuple[str, int], error: BaseException, *, is_gone: bool
    ) -> list[ResolveResult]:
        """Return the known addresses if they may be used still; raise ``error`` and forget them."""
        known, now_s = self._known.get(name), self._clock()
        if known is None:
            raise error
        known.doubted_since_s = min(known.doubted_since_s, now_s)
        if is_gone:
            known.gone_since_s = min(known.gone_since_s, now_s)
        if known.are_too_old(now_s):
            del self._known[name]
            raise error
        return known.addresses

    def _over(self, name: tuple[str, int], found: asyncio.Future[Found]) -> None:
        """Keep what was found; nobody may wait for it any more."""
        if self._under_way.get(name) is found:
            del self._under_way[name]
        if found.exception() is None and (addresses := _addresses(name[0], found.result())):
            self._known[name] = _Known(addresses)

    def _begun(self, host: str, port: int, family: int) -> asyncio.Future[Found]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Found] = loop.create_future()
        found.add_done_callback(partial(self._over, (host, port)))

        def tell(result: Found, error: OSError | None) -> None:
            if error is None:
                found.set_result(result)
            else:
                found.set_exception(error)

        def look() -> None:
            result, error = Found(), None
            try:
                result = socket.getaddrinfo(
                    host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
            except (OSError, UnicodeError) as failed:
                error = failed if isinstance(failed, OSError) else OSError(None, "no name")
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, result, error)

        try:
            threading.Thread(target=look, name="names", daemon=True).start()
        except RuntimeError:  # this replica has none left
            raise OSError(errno.ENOMEM, "no thread can be started") from None
        return found

    async def close(self) -> None:
        """Do nothing: what is looked up is left to itself."""


def _addresses(host: str, found: Found) -> list[ResolveResult]:
    return [
        ResolveResult(
            hostname=host,
            host=_numeric(place),
            port=place[1],
            family=family,
            proto=proto,
            flags=_NUMERIC,
        )
        for family, _, proto, _, place in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


def _numeric(place: Any) -> str:
    """Return the address; of a link-local one of IPv6 with its interface."""
    numeric: str = place[0]
    is_scoped = len(place) > 3 and place[3] and "%" not in numeric
    return f"{numeric}%{place[3]}" if is_scoped else numeric
