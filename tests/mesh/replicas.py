"""Replicas of the facade as processes that keep their addresses while they come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from demo.facade import Facade
from tests.ports import free_port


@contextmanager
def replicas(
    folder: Path, upstream_url: str, count: int = 2, environment: Mapping[str, str] | None = None
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
