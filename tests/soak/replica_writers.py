"""Writers of a library that several engines serve: each knows what its images have to be.

A writer changes images of its own, so that it can tell what is stored after each acknowledgement. A
call that fails is made again, at any of the engines, until it is acknowledged.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from tests.engine.calling import Caller, code_of
from tests.engine.image_files import jpeg
from tests.soak.crash_callers import Acknowledged

_DRAWN: Final = 64
_GIVE_UP_S: Final = 180.0
_AGAIN_S: Final = 0.1
_SIGNS_MAX: Final = 20
_UNKNOWN, _THERE, _FULL = 216680, 216681, 990001

Values = tuple[str, int, int]
"""Brief and class ids of an image."""


def image(number: int) -> bytes:
    """Return one of some drawn images, with a number in its comment: each is another file."""
    drawn = jpeg(number % _DRAWN, (320, 300))
    return drawn[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + drawn[2:]


@dataclass
class Told(Acknowledged):
    """What was acknowledged, refused and noticed."""

    surprises: list[str] = field(default_factory=list)
    """Answers that no order of the acknowledged writes explains."""


class Writer:
    """One of ``of`` writers, in a thread of its own; ``keys`` are those of the library."""

    def __init__(
        self, number: int, of: int, urls: list[str], keys: tuple[str, str], told: Told, seed: int
    ):
        self._number, self._of = number, of
        self._callers = [Caller(url, *keys) for url in urls]
        self._told = told
        self._chance = random.Random(f"{seed} {number}")
        self.expected: dict[str, Values] = {}
        """The images that have to be there, by their signs."""

    def write(self, writes: int, killed: threading.Event) -> None:
        """Change images until so many writes are acknowledged and all is killed."""
        while writes > 0 or not killed.is_set():
            writes -= 1
            kind = self._chance.random()
            if len(self.expected) < 5 or kind < 0.5:
                self._add()
            elif kind < 0.8:
                self._update()
            elif kind < 0.95:
                self._delete(1)
            else:
                self._delete(self._chance.randrange(2, _SIGNS_MAX))
            self._told.note_one()
        for caller in self._callers:
            caller.close()

    def _add(self) -> None:
        self._number += self._of
        values = self._values()
        answer, _ = self._until(
            lambda caller: caller.call("add", image=image(self._number), **_fields(values)),
            0,
            _THERE,
        )
        self.expected[answer["cont_sign"]] = values

    def _update(self) -> None:
        sign = self._chance.choice([*self.expected])
        values = self._values()
        answer, _ = self._until(
            lambda caller: caller.call("update", cont_sign=sign, **_fields(values)), 0, _UNKNOWN
        )
        if code_of(answer):
            self._told.surprises.append(f"update of {sign}: not there")
        self.expected[sign] = values

    def _delete(self, count: int) -> None:
        signs = self._chance.sample([*self.expected], min(count, len(self.expected)))
        answer, attempts = self._until(
            lambda caller: caller.call("delete", cont_sign=";".join(signs)), 0, _UNKNOWN
        )
        # Of a repeated delete the first attempt may have been carried out.
        if code_of(answer) and attempts == 1:
            self._told.surprises.append(f"delete of {signs}: not there")
        for sign in signs:
            del self.expected[sign]

    def _values(self) -> Values:
        brief = f"{self._number} {self._chance.random()}"
        return brief, self._chance.randrange(1, 4), self._chance.randrange(4, 6)

    def _until(
        self, call: Callable[[Caller], dict[str, Any]], *good: int
    ) -> tuple[dict[str, Any], int]:
        """Make a call until one of the codes is its answer; return it, and how often it was."""
        ends_s, attempts = time.monotonic() + _GIVE_UP_S, 0
        while time.monotonic() < ends_s:
            attempts += 1
            try:
                answer = call(self._chance.choice(self._callers))
            except (requests.RequestException, AssertionError, ValueError) as error:
                self._told.refused[type(error).__name__] += 1
            else:
                if code_of(answer) in good:
                    return answer, attempts
                self._told.refused[str(code_of(answer))] += 1
            time.sleep(_AGAIN_S)
        raise TimeoutError(f"no acknowledgement in {_GIVE_UP_S:.0f} s")


class Crowding:
    """Adds to a library until it is full, deletes some and adds again, until it is over."""

    def __init__(self, urls: list[str], keys: tuple[str, str], seed: int):
        self._urls, self._keys, self._seed = urls, keys, seed
        self._numbers = iter(range(10**9, 2 * 10**9))
        self._lock = threading.Lock()

    def run(self, over: threading.Event) -> None:
        """Fill and empty the library from one thread of some."""
        chance = random.Random(self._seed)
        callers = [Caller(url, *self._keys) for url in self._urls]
        signs: list[str] = []
        while not over.is_set():
            with self._lock:
                number = next(self._numbers)
            try:
                caller = chance.choice(callers)
                answer = caller.call("add", image=image(number), brief="crowd")
                if code_of(answer) == 0:
                    signs.append(answer["cont_sign"])
                elif code_of(answer) == _FULL and signs:
                    caller.call("delete", cont_sign=signs.pop(chance.randrange(len(signs))))
            except (requests.RequestException, AssertionError, ValueError):
                time.sleep(_AGAIN_S)
        for each in callers:
            each.close()

    def fill(self, capacity: int) -> None:
        """Add until the library has to be full; everything is up."""
        caller = Caller(self._urls[0], *self._keys)
        for _ in range(capacity + 1):
            caller.call("add", image=image(next(self._numbers)), brief="last")
        caller.close()


def _fields(values: Values) -> dict[str, Any]:
    brief, first, second = values
    return {"brief": brief, "class_id1": str(first), "class_id2": str(second)}
