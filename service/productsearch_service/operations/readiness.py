"""Whether this replica should get calls: a valid token, and an upstream that answers.

At the start every library must have had a token once, so that a rollout with a wrong key pair
stops at its first pod. From then on one library that can be served is enough: a library whose
upstream fails would fail at every replica, and taking all of them out would take the other
libraries with it. Looking also fetches tokens before anyone needs them.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

from productsearch_service import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from productsearch_service.operations.vitals import Vitals

_log = logging.getLogger(__name__)


class Watched(Protocol):
    """A library, as readiness sees it."""

    def prepare(self) -> None:
        """Begin to fetch a token if there is none, or one that will not do for long."""

    def vitals(self) -> Vitals:
        """Return how the library is doing."""


class Readiness:
    """Looks at the libraries in a thread of its own and tells what it finds."""

    def __init__(self, libraries: Mapping[str, Watched], tell: Callable[[bool], None]) -> None:
        self._libraries = libraries
        self._tell = tell
        self._had_token: set[str] = set()
        self._closed = threading.Event()
        self.obstacles: Mapping[str, str] = dict.fromkeys(libraries, "not looked at yet")
        """What keeps each library from being served, by name; only those with an obstacle."""
        self.ready = False
        self.looks = 0
        """How often it has looked."""

    def start(self) -> None:
        """Look every half second until closed."""
        threading.Thread(target=self._run, name="readiness", daemon=True).start()

    def close(self) -> None:
        """Not ready from now on, whatever there is to see."""
        self._closed.set()
        self.ready = False

    def look(self) -> bool:
        """Return whether the replica is ready now."""
        obstacles = {}
        for name, library in self._libraries.items():
            library.prepare()
            vitals = library.vitals()
            if vitals.token.usable:
                self._had_token.add(name)
            if vitals.obstacle:
                obstacles[name] = vitals.obstacle
        self.obstacles = obstacles
        begun = len(self._had_token) == len(self._libraries)
        return begun and len(obstacles) < len(self._libraries)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._look_and_tell()
            except Exception:  # noqa: BLE001 - without this thread, readiness would never change
                _log.exception("looking whether this replica is ready failed in an unforeseen way")
            self._closed.wait(limits.READINESS_POLL_S)

    def _look_and_tell(self) -> None:
        ready = self.look()
        self.looks += 1
        if ready == self.ready or self._closed.is_set():
            return
        self.ready = ready
        self._tell(ready)
        said = "; ".join(f"{name}: {why}" for name, why in self.obstacles.items())
        _log.info("%s%s", "ready" if ready else "not ready", said and f" ({said})")
