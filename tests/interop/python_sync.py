"""Runs a plan with the sync client."""

from __future__ import annotations

import itertools
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from productsearch import v1
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

Item = v1.BulkAddImagesRequest.Item


def run(plan: Json) -> list[Json]:
    """Return the report's cases."""
    runner = _Runner(plan)
    waiting = [case for case in plan["cases"] if case["kind"] == "keepalive"]
    others = [case for case in plan["cases"] if case["kind"] != "keepalive"]
    report: list[Json] = []
    threads = [
        threading.Thread(target=lambda case=case: report.append(runner.report(case)))
        for case in waiting
    ]
    for thread in threads:
        thread.start()
    report += [runner.report(case) for case in others]
    for thread in threads:
        thread.join()
    return report


class _Runner:
    def __init__(self, plan: Json) -> None:
        self._plan = plan
        self._stubs: dict[str, v1.ProductSearchStub] = {}
        self._kinds: dict[str, Callable[[Json], Json]] = {
            "unary": self._unary,
            "pages": self._pages,
            "bulk": self._bulk,
            "bulk_cancel": self._bulk_cancel,
            "bulk_drain": self._bulk_drain,
            "keepalive": self._keepalive,
        }

    def report(self, case: Json) -> Json:
        """Run one case and return its part of the report."""
        kind = self._kinds.get(case["kind"])
        try:
            outcome = kind(case) if kind is not None else UNSUPPORTED
        except Exception:  # noqa: BLE001 - a case that falls over is told of, and the rest run
            outcome = crashed()
        return {"name": case["name"], "outcome": outcome}

    def _stub(self, target: str) -> v1.ProductSearchStub:
        if target not in self._stubs:
            self._stubs[target] = v1.ProductSearchStub(self._channel(target))
        return self._stubs[target]

    def _channel(self, target: str, **keywords: Any) -> grpc.Channel:
        where = self._plan["targets"][target]
        return v1.connect(where["address"], credentials=credentials_of(where), **keywords)

    def _unary(self, case: Json) -> Json:
        method = getattr(self._stub(case["target"]), case["method"])
        try:
            return answered(method(request_of(case), timeout=case.get("timeout_s")))
        except grpc.RpcError as error:
            return failed(error)

    def _pages(self, case: Json) -> Json:
        request, timeout = search_of(case), case.get("timeout_s")
        try:
            found = [*v1.search_all(self._stub(case["target"]), request, timeout=timeout)]
        except grpc.RpcError as error:
            return failed(error)
        return {"code": "OK", "signs": [result.cont_sign for result in found]}

    def _bulk(self, case: Json) -> Json:
        stub, notes = self._stub(case["target"]), Bulk(case["items"])
        items = [item_of(item) for item in case["items"]]
        with v1.bulk_add(stub, items, settings=settings_of(case)) as stream:
            for result in stream:
                notes.note(result)
        return notes.outcome(stream.summary)

    def _bulk_cancel(self, case: Json) -> Json:
        stream = v1.bulk_add(
            self._stub(case["target"]), _endlessly(case["items"]), settings=settings_of(case)
        )
        came = sum(1 for _ in itertools.islice(stream, case["after"]))
        stream.close()
        code = "OK"
        try:
            for _ in stream:
                pass
        except grpc.RpcError as error:
            code = failed(error)["code"]
        return {
            "code": code,
            "enough": came >= case["after"],
            "after_cancel": self._unary(case["then"]),
        }

    def _bulk_drain(self, case: Json) -> Json:
        notes = Bulk(case["items"])
        settings = settings_of(case)
        interrupted: v1.BulkInterrupted | None = None
        items = [item_of(item) for item in case["items"]]
        stream = v1.bulk_add(self._stub(case["target"]), items, settings=settings)
        try:
            for number, result in enumerate(stream, 1):
                notes.note(result)
                if number == case["after"]:
                    self._drain(case["target"])
        except v1.BulkInterrupted as error:
            interrupted = error
        left = notes.left(case["items"])
        settings.duplicate_policy = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
        again = map(item_of, left)
        for result in v1.bulk_add(self._stub(case["then_target"]), again, settings=settings):
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

    def _keepalive(self, case: Json) -> Json:
        states: list[grpc.ChannelConnectivity] = []
        with self._channel(
            case["target"], keepalive_s=case["interval_s"], keepalive_without_calls=True
        ) as channel:
            stub = v1.ProductSearchStub(channel)
            first = self._code(stub, case)
            channel.subscribe(states.append)
            time.sleep(case["seconds"])
            away = {state for state in states if state is not grpc.ChannelConnectivity.READY}
            last = self._code(stub, case)
        return {"first": first, "last": last, "disconnected": bool(away)}

    def _code(self, stub: v1.ProductSearchStub, case: Json) -> str:
        try:
            getattr(stub, case["method"])(request_of(case))
        except grpc.RpcError as error:
            return str(failed(error)["code"])
        return "OK"


def _endlessly(items: list[Json]) -> Iterator[Item]:
    """Yield the items again and again, with ever new keys."""
    for number in itertools.count():
        for written in items:
            yield item_of(written | {"key": f"{written['key']}{number}"})
