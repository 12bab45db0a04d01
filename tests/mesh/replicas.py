"""Replicas of the facade as processes that keep their addresses while they come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from demo.facade import Facade
from tests.ports import free_port

NO_DRAIN: Final = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "5"}
"""Stops at once, where the test is not about stopping."""


@contextmanager
def replicas(
    folder: Path, upstream_url: str, count: int = 2, environment: Mapping[str, str] = NO_DRAIN
) -> Iterator[list[Facade]]:
    """Start that many facades in front of one upstream; stop those that run at the end."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Facade(
                    folder / f"facade-{number}",
                    upstream_url,
                    {"default": ("k", "s")},
                    listen=f"127.0.0.1:{free_port()}",
                    environment=environment,
                )
            )
            for number in range(count)
        ]
