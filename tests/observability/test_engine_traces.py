"""The engine's spans: of a call that its caller left, too, and of no stranger's."""

from __future__ import annotations

import socket

from demo.processes import Engine
from tests.engine.calling import CALLS, Caller, image_field
from tests.observability.collector import Collector
from tests.pictures import jpeg


def _asks_to_record(trace: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace * 32}-{'1' * 16}-01"}


def _leave(caller: Caller, trace: str) -> None:
    """Begin a call that is recorded, and leave it with half of its body."""
    host, port = caller.url.removeprefix("http://").split(":")
    ((name, value),) = _asks_to_record(trace).items()
    head = (
        f"POST {CALLS}search?access_token={caller.token} HTTP/1.1\r\nHost: {host}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n"
        f"{name}: {value}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), 20) as line:
        line.sendall(head.encode() + b"image=")


def test_who_has_spans() -> None:
    """A call that was given up is the one that somebody will look for."""
    with Collector() as collector:
        environment = {"PRODUCTSEARCH_ENGINE_TRACES_ENDPOINT": collector.url}
        with Engine(environment=environment | {"OTEL_BSP_SCHEDULE_DELAY": "50"}) as engine:
            caller = Caller(engine.url, *engine.create_library("shop"))
            image = {"image": image_field(jpeg(1))}
            caller.answer("search", token="made-up", data=image, headers=_asks_to_record("a"))
            _leave(caller, "b")
            collector.wait_for("engine search")
            caller.answer("search", data=image, headers=_asks_to_record("c"))
            collector.wait_for("embed")
            caller.close()
        seen = collector.spans()
    codes = {each.trace[0]: each.attributes["productsearch.code"] for each in seen
             if each.name == "engine search"}  # fmt: skip
    assert {"b": "499", "c": "0"} == codes
