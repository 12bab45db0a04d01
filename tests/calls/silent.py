"""Calls that begin and say nothing, and a facade that knows its callers by bearer tokens."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import grpc

from productsearch_service.rpc.admission import Admission
from tests.facade import Server

SERVICE: Final = "/productsearch.v1.ProductSearch/"
UNARY: Final = ("AddImage", "SearchImages", "UpdateImage", "DeleteImage", "BatchDeleteImages")
CALLERS: Final = ("one", "two", "three", "reader")
"""Callers of the policy; ``reader`` may search and nothing else."""

_NO_RETRY: Final = ("grpc.enable_retries", 0)
_OWN_CONNECTION: Final = ("grpc.use_local_subchannel_pool", 1)
_READY_S: Final = 30.0


def policy_file(folder: Path, *others: str) -> Path:
    """Write a policy with all CALLERS and ``others``, who may do all; return its path."""
    lines = []
    for name in (*CALLERS, *others):
        digest = hashlib.sha256(name.encode()).hexdigest()
        lines += [f"[callers.{name}]", f'token_sha256 = ["{digest}"]']
    lines += ["[[rules]]", f"callers = {json.dumps(['one', 'two', 'three', *others])}"]
    lines += ["[[rules]]", 'callers = ["reader"]', 'methods = ["SearchImages"]']
    path = folder / "policy.toml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def token_of(caller: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata by which a caller of the policy is known; none for ``""``."""
    return (("authorization", f"Bearer {caller}"),) if caller else ()


def connected(server: Server, *options: tuple[str, int]) -> grpc.Channel:
    """Return a connection of its own, which repeats nothing by itself."""
    channel = grpc.insecure_channel(
        f"127.0.0.1:{server.port}", options=[_NO_RETRY, _OWN_CONNECTION, *options]
    )
    grpc.channel_ready_future(channel).result(_READY_S)
    return channel


def admission_of(server: Server) -> Admission:
    """Return what a facade has under way."""
    return server.service._admission


def calls_of_grpc(server: Server) -> int:
    """Return how many calls gRPC has in a facade, whoever is still at work on them."""

    async def count() -> int:
        coroutines = [task.get_coro() for task in asyncio.all_tasks()]
        return sum(getattr(each, "__name__", "") == "_schedule_rpc_coro" for each in coroutines)

    return server.run(count())


class Silence:
    """Streams whose headers are sent and no message; a context, which cancels them."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._over = threading.Event()
        self.calls: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for call in self.calls:
            call.cancel()

    def unary(self, method: str, caller: str = "", count: int = 1) -> list[Any]:
        """Begin unary calls, as futures; ``method`` is one of ProductSearch's, or a whole path."""
        path = method if method.startswith("/") else SERVICE + method
        begin = self._channel.stream_unary(path).future
        return self._begun(begin, caller, count)

    def streams(self, caller: str, count: int = 1, *first: bytes) -> list[Any]:
        """Begin bulk streams that send ``first`` and then nothing."""
        begin = self._channel.stream_stream(SERVICE + "BulkAddImages")
        return self._begun(begin, caller, count, *first)

    def _begun(self, begin: Any, caller: str, count: int, *first: bytes) -> list[Any]:
        metadata = token_of(caller)
        calls = [begin(self._messages(first), metadata=metadata) for _ in range(count)]
        self.calls += calls
        return calls

    def _messages(self, first: tuple[bytes, ...]) -> Iterator[bytes]:
        yield from first
        self._over.wait()
