"""Runs a plan with the asyncio client."""

from __future__ import annotations

import asyncio
import itertools
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from productsearch import v1
from productsearch.v1 import aio
from tests.interop.python_outcomes import (
    UNSUPPORTED,
    Bulk,
    Json,
    answered,
    crashed,
    credentials_of,
    failed,
    item_of,
    reason_name,
    request_of,
    search_of,
    settings_of,
)

if TYPE_CHECKING:
    from productsearch.v1.product_search_pb2_grpc import ProductSearchAsyncStub

Item = v1.BulkAddImagesRequest.Item


async def run(plan: Json) -> list[Json]:
    """Return the report's cases."""
    runner = _Runner(plan)
    waiting = [
        asyncio.create_task(runner.report(case))
        for case in plan["cases"]
        if case["kind"] == "keepalive"
    ]
    report = [await runner.report(case) for case in plan["cases"] if case["kind"] != "keepalive"]
    report += [await task for task in waiting]
    await runner.close()
    return report


class _Runner:
    def __init__(self, plan: Json) -> None:
        self._plan = plan
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._kinds: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "unary": self._unary,
            "pages": self._pages,
            "bulk": self._bulk,
            "bulk_cancel": self._bulk_cancel,
            "bulk_drain": self._bulk_drain,
            "keepalive": self._keepalive,
        }

    async def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            await channel.close()

    async def report(self, case: Json) -> Json:
        """Run one case and return its part of the report."""
        kind = self._kinds.get(case["kind"])
        try:
            outcome = await kind(case) if kind is not None else UNSUPPORTED
        except Exception:  # noqa: BLE001 - a case that falls over is told of, and the rest run
            outcome = crashed()
        return {"name": case["name"], "outcome": outcome}

    def _stub(self, target: str) -> ProductSearchAsyncStub:
        if target not in self._channels:
            self._channels[target] = self._channel(target)
        return v1.ProductSearchStub(self._channels[target])

    def _channel(self, target: str, **keywords: Any) -> grpc.aio.Channel:
        where = self._plan["targets"][target]
        return aio.connect(where["address"], credentials=credentials_of(where), **keywords)

    async def _unary(self, case: Json) -> Json:
        method = getattr(self._stub(case["target"]), case["method"])
        try:
            return answered(await method(request_of(case), timeout=case.get("timeout_s")))
        except grpc.RpcError as error:
            return failed(error)

    async def _pages(self, case: Json) -> Json:
        pages = aio.search_all(
            self._stub(case["target"]), search_of(case), timeout=case.get("timeout_s")
        )
        try:
            signs = [result.cont_sign async for result in pages]
        except grpc.RpcError as error:
            return failed(error)
        return {"code": "OK", "signs": signs}

    async def _bulk(self, case: Json) -> Json:
        stub, notes = self._stub(case["target"]), Bulk(case["items"])
        items = [item_of(item) for item in case["items"]]
        async with aio.bulk_add(stub, items, settings=settings_of(case)) as stream:
            async for result in stream:
                notes.note(result)
        return notes.outcome(stream.summary)

    async def _bulk_cancel(self, case: Json) -> Json:
        came, code = 0, "OK"
        stream = aio.bulk_add(
            self._stub(case["target"]), _endlessly(case["items"]), settings=settings_of(case)
        )
        try:
            async for _ in stream:
                came += 1
                if came == case["after"]:
                    stream.close()
        except grpc.RpcError as error:
            code = failed(error)["code"]
        return {
            "code": code,
            "enough": came >= case["after"],
            "after_cancel": await self._unary(case["then"]),
        }

    async def _bulk_drain(self, case: Json) -> Json:
        notes, settings = Bulk(case["items"]), settings_of(case)
        interrupted: v1.BulkInterrupted | None = None
        items = map(item_of, case["items"])
        number = 0
        try:
            async for result in aio.bulk_add(self._stub(case["target"]), items, settings=settings):
                notes.note(result)
                number += 1
                if number == case["after"]:
                    await asyncio.to_thread(self._drain, case["target"])
        except v1.BulkInterrupted as error:
            interrupted = error
        left = notes.left(case["items"])
        settings.duplicate_policy = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
        again = map(item_of, left)
        async for result in aio.bulk_add(self._stub(case["then_target"]), again, settings=settings):
            notes.note(result)
        return {
            "interrupted": interrupted is not None,
            "reason": None if interrupted is None else reason_name(interrupted),
            "resent": len(left),
            "answered": len(notes.results),
            "failed": notes.failed,
        }

    def _drain(self, target: str) -> None:
        url = f"{self._plan['control']}/drain/{target}"
        urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()

    async def _keepalive(self, case: Json) -> Json:
        async with self._channel(
            case["target"], keepalive_s=case["interval_s"], keepalive_without_calls=True
        ) as channel:
            stub = v1.ProductSearchStub(channel)
            first = await self._code(stub, case)
            left_ready = asyncio.ensure_future(
                channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            )
            await asyncio.wait([left_ready], timeout=case["seconds"])
            disconnected = left_ready.done()
            left_ready.cancel()
            last = await self._code(stub, case)
        return {"first": first, "last": last, "disconnected": disconnected}

    async def _code(self, stub: ProductSearchAsyncStub, case: Json) -> str:
        try:
            await getattr(stub, case["method"])(request_of(case))
        except grpc.RpcError as error:
            return str(failed(error)["code"])
        return "OK"


async def _endlessly(items: list[Json]) -> AsyncIterator[Item]:
    """Yield the items again and again, with ever new keys."""
    for number in itertools.count():
        for written in items:
            yield item_of(written | {"key": f"{written['key']}{number}"})
