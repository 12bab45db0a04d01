"""Callers who repeat a call until it succeeds, and what they were told for certain."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import grpc

from productsearch import v1

CALL_S: Final = 5.0
_AGAIN_S: Final = 0.05
_GIVE_UP_S: Final = 120.0
"""A caller that hears no acknowledgement for so long reports that as a failure."""
_KEEP: Final = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
# Left alone, gRPC waits longer and longer before it connects again, up to two minutes.
RECONNECT_SOON: Final = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)
Reply = TypeVar("Reply")


@dataclass
class Acknowledged:
    """What callers were told for certain. Thread-safe as far as it is used."""

    signs: dict[int, str] = field(default_factory=dict)
    """Sign by number of the image."""
    outcomes: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    changed: threading.Condition = field(default_factory=threading.Condition)
    count: int = 0

    def note(self, number: int, reply: v1.AddImageResponse) -> None:
        """Keep the acknowledgement of an add."""
        with self.changed:
            self.signs[number] = reply.cont_sign
            self.outcomes[reply.outcome] += 1
        self.note_one()

    def note_one(self) -> None:
        """Count an acknowledgement."""
        with self.changed:
            self.count += 1
            self.changed.notify_all()

    def wait_for(self, count: int) -> bool:
        """Wait for that many acknowledgements; False if they do not come."""
        with self.changed:
            return self.changed.wait_for(lambda: self.count >= count, _GIVE_UP_S)

    def until(self, call: Callable[[], Reply]) -> Reply:
        """Repeat a call until it succeeds and return its reply; raise TimeoutError in the end."""
        ends_s = time.monotonic() + _GIVE_UP_S
        while True:
            try:
                return call()
            except grpc.RpcError as failure:
                with self.changed:
                    self.refused[failure.code().name] += 1
                if time.monotonic() > ends_s:
                    raise TimeoutError(failure.code().name) from failure
                time.sleep(v1.retry_delay_of(failure) or _AGAIN_S)


def add_and_keep(stub: v1.ProductSearchStub, image: bytes, brief: str) -> v1.AddImageResponse:
    """Add as the README tells callers to."""
    new_image = v1.NewImage(image=v1.ImageSource(content=image), brief=brief)
    request = v1.AddImageRequest(new_image=new_image, duplicate_policy=_KEEP)
    return stub.AddImage(request, timeout=CALL_S)
