"""Whether this replica should get calls: a valid token, an upstream that answers, an open port.

At the start every library must have had a token once, so that a rollout with a wrong key pair
stops at its first pod. From then on one library that can be served is enough: a library whose
upstream fails would fail at every replica, and taking all of them out would take the other
libraries with it. Looking also fetches tokens before anyone needs them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from productsearch_service import limits
from productsearch_service.library.library import Library
from productsearch_service.observability.reachability import Reachability
from productsearch_service.periodic_task import PeriodicTask

_log = logging.getLogger(__name__)


class Readiness:
    """Looks at the libraries every half second and tells what it finds."""

    def __init__(
        self,
        libraries: Mapping[str, Library],
        reachability: Reachability,
        tell: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._libraries = libraries
        self._reachability = reachability
        self._tell = tell
        self._had_token: set[str] = set()
        self._rounds = PeriodicTask("readiness", self._look, limits.READINESS_POLL_S)
        self._stopping = False
        self.reasons: Mapping[str, str] = dict.fromkeys(libraries, "not looked at yet")
        """Why libraries cannot be served, by name, and ``listen``; only what is wrong."""
        self.ready = False
        self.looks = 0
        """How often it has looked."""

    @property
    def not_ready_reason(self) -> str:
        """Why this replica is not ready, or nothing; may be asked from any thread."""
        if self.ready:
            return ""
        told = "\n".join(f"{name}: {why}" for name, why in self.reasons.items())
        return told or "stopping"

    async def start(self) -> None:
        """Look now, and every half second until stopped."""
        await self._look()
        self._rounds.start()

    async def stop(self) -> None:
        """Stay not ready from now on, whatever is found."""
        self._stopping = True
        self.ready = False
        await self._rounds.stop()

    async def _look(self) -> None:
        reasons = {}
        for name, library in self._libraries.items():
            library.prepare()
            stats = library.stats()
            if stats.token.usable:
                self._had_token.add(name)
            if stats.not_ready_reason:
                reasons[name] = stats.not_ready_reason
        begun = len(self._had_token) == len(self._libraries)
        ready = begun and len(reasons) < len(self._libraries)
        if unreached := self._reachability.not_ready_reason:
            reasons["listen"] = unreached
            ready = False
        self.reasons = reasons
        self.looks += 1
        if ready == self.ready or self._stopping:
            return
        self.ready = ready
        await self._tell(ready)
        said = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        _log.info("%s%s", "ready" if ready else "not ready", said and f" ({said})")
