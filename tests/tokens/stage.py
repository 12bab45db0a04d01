"""Threads one at a time in virtual time, so that every order of events can be played.

One actor runs at a time, is halted before each lock, and only moves on when a rule says so; time
passes when a rule says so and nobody has anything left to do. So each run is the same each time,
and a wait that is one millisecond too long is one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from productsearch_service import deadline as deadline_module
from productsearch_service.upstream import token as token_module

_STEPS_MAX: Final = 10_000


class _Over(BaseException):
    """The run is over: whoever still waits ends."""


@dataclass(eq=False)
class Actor:
    """A thread that runs when it is given the baton."""

    name: str
    state: str = "ready"  # ready, waiting, locked out, asking, done
    until_s: float = 0.0
    awaited: object = None
    waits: int = 0
    overtaken: bool = False
    outcome: Any = None
    error: BaseException | None = None
    afterwards: Callable[[], None] | None = None
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Stage:
    """Threads one at a time, and a clock that stands still while they run."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.actors: list[Actor] = []
        self._own = threading.local()
        self._halted = threading.Semaphore(0)
        self._over = False

    def clock(self) -> float:
        """Return the virtual time."""
        return self.now_s

    @property
    def actor(self) -> Actor | None:
        """Who runs this; None: the rules."""
        return getattr(self._own, "actor", None)

    def among(self, state: str) -> list[Actor]:
        """Return the actors in that state, the oldest first."""
        return [actor for actor in self.actors if actor.state == state]

    def enter(
        self, name: str, target: Callable[[], object], afterwards: Callable[[], None] | None = None
    ) -> Actor:
        """Add an actor that is ready to run ``target``; then ``afterwards`` at once."""
        actor = Actor(name, afterwards=afterwards)

        def play() -> None:
            self._own.actor = actor
            actor.baton.acquire()
            try:
                if not self._over:
                    target()
            except _Over:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again where the rules run
                actor.error = error
            actor.state = "done"
            self._halted.release()

        self.actors.append(actor)
        threading.Thread(target=play, daemon=True).start()
        return actor

    def run(self, actor: Actor) -> None:
        """Let a ready actor run until it halts."""
        actor.baton.release()
        self._halted.acquire()
        if actor.error is not None:
            raise actor.error
        if actor.state == "done":
            self.actors.remove(actor)
            if actor.afterwards is not None:
                actor.afterwards()

    def run_through(self, actor: Actor) -> None:
        """Let a ready actor run as far as it can, before all others."""
        while actor.state == "ready":
            self.run(actor)

    def halt(self, state: str, until_s: float = 0.0, awaited: object = None) -> None:
        """Halt the actor that runs this until it is ready and chosen."""
        actor = self.actor
        if actor is None:
            raise AssertionError("the rules themselves would have to wait")
        actor.state, actor.until_s, actor.awaited = state, until_s, awaited
        actor.waits += state == "waiting"
        self._halted.release()
        actor.baton.acquire()
        if self._over:
            raise _Over

    def wake(self, awaited: object) -> None:
        """Make ready whoever waits for that."""
        for actor in self.actors:
            if actor.awaited is awaited and actor.state in ("waiting", "locked out"):
                actor.state = "ready"

    def settle(self, newest_first: bool = False) -> None:
        """Run until nobody has anything left to do."""
        for _ in range(_STEPS_MAX):
            ready = self.among("ready")
            if not ready:
                return
            self.run(ready[-1 if newest_first else 0])
        raise AssertionError("somebody runs for ever")

    def passing(self, seconds: float) -> Iterator[None]:
        """Let time pass, with a halt at each moment at which somebody's wait ends."""
        target_s = self.now_s + seconds
        self.settle()
        while due := [one for one in self.among("waiting") if one.until_s <= target_s]:
            self.now_s = max(self.now_s, min(one.until_s for one in due))
            for one in due:
                if one.until_s <= self.now_s:
                    one.state = "ready"
            self.settle()
            yield
        self.now_s = target_s
        yield

    def close(self) -> None:
        """End all actors, those that they start in ending too."""
        self._over = True
        for actor in self.actors:
            if actor.state == "done":
                continue
            actor.baton.release()
            self._halted.acquire()

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self._over


class StageLock:
    """A lock before which every actor halts, so that any other can come first."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._held = False

    def __enter__(self) -> None:
        if self._stage.over:
            return
        if self._stage.actor is not None:
            self._stage.halt("ready")
        while self._held:
            self._stage.halt("locked out", awaited=self)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        self._stage.wake(self)


class StageEvent:
    """An event that is waited for in virtual time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._set = False

    def set(self) -> None:
        """Wake all who wait."""
        self._set = True
        self._stage.wake(self)

    def is_set(self) -> bool:
        """Whether it happened."""
        return self._set

    def wait(self, timeout: float) -> bool:
        """Wait until it happens or the time is over."""
        if not self._set:
            self._stage.halt("waiting", self._stage.now_s + timeout, self)
        return self._set


@contextmanager
def staged(stage: Stage) -> Iterator[None]:
    """Give the token source the stage's threads and time, and everyone its own wall clock."""

    class StageThread:
        def __init__(self, target: Callable[..., None], args: tuple[Any, ...], **_: Any) -> None:
            self._target = lambda: target(*args)

        def start(self) -> None:
            stage.enter("flight", self._target)

    threads = SimpleNamespace(
        Lock=lambda: StageLock(stage), Event=lambda: StageEvent(stage), Thread=StageThread
    )
    with ExitStack() as stack:
        stack.enter_context(patch.object(token_module, "threading", threads))
        clock = SimpleNamespace(monotonic=stage.clock)
        stack.enter_context(patch.object(deadline_module, "time", clock))
        yield
