"""The engine's line of a call joins with the facade's, and says where the time went."""

from __future__ import annotations

import json
import socket
from typing import Any

import requests

from demo.processes import Engine
from tests.engine.calling import CALLS, Caller, image_field
from tests.lifecycle.asking import until
from tests.pictures import jpeg

_PARTS = ("process_wait_ms", "decode_ms", "embed_ms", "copy_ms", "connection_wait_ms", "sql_ms")
_LEFT = 'productsearch_engine_requests_total{code="499",method="search"} 1.0'
_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def _lines(engine: Engine, count: int) -> list[dict[str, Any]]:
    """Return the lines of calls, without those for tokens, once there are ``count``."""

    def found() -> list[dict[str, Any]]:
        told = [json.loads(line) for line in engine.log().splitlines() if line.startswith("{")]
        calls = [each for each in told if each["logger"] == "productsearch_engine.access"]
        return [each for each in calls if each["method"] != "token"]

    until(lambda: len(found()) >= count, "the lines")
    return found()


def _leave(caller: Caller) -> None:
    """Begin a call and leave it with half of its body."""
    host, port = caller.url.removeprefix("http://").split(":")
    head = (
        f"POST {CALLS}search?access_token={caller.token} HTTP/1.1\r\nHost: {host}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), 20) as line:
        line.sendall(head.encode() + b"image=")


def test_a_line_is_json_with_library_and_parts() -> None:
    """By default where no terminal is; a failed call and one of a stranger have one, too."""
    with Engine() as engine:
        caller = Caller(engine.url, *engine.create_library("shop"))
        asked = {"traceparent": f"00-{_TRACE}-{'1' * 16}-00"}
        answers = [
            caller.call("add", image=jpeg(1), brief="the-brief"),
            caller.answer("search", data={"image": image_field(jpeg(1))}, headers=asked),
            caller.call("delete", cont_sign="1,2"),
            caller.answer("add", token="made-up", data={"brief": "x"}),
        ]
        _leave(caller)
        add, search, delete, stranger, left = _lines(engine, 5)
        assert _LEFT in requests.get(f"{engine.url}/metrics", timeout=20).text
        assert all(line.startswith("{") for line in engine.log().splitlines())
        assert "the-brief" not in engine.log()
        caller.close()
    assert ("search", "shop", 499) == (left["method"], left["library"], left["code"])
    lines = (add, search, delete, stranger)
    # The answer to a wrong token has none, as the vendor's.
    assert [each["log_id"] for each in answers[:3]] == [line["log_id"] for line in lines[:3]]
    assert ["add", "search", "delete", "add"] == [line["method"] for line in lines]
    assert ["shop", "shop", "shop", "-"] == [line["library"] for line in lines]
    assert [0, 0, 216680, 100] == [line["code"] for line in lines]
    assert ["-", _TRACE, "-", "-"] == [line["trace_id"] for line in lines]
    for line in lines:
        assert sum(line[part] for part in _PARTS) <= line["ms"] + 0.5
        assert {"time", "level", "version"} < line.keys()
    assert all(add[part] > 0 for part in ("decode_ms", "embed_ms", "copy_ms", "sql_ms"))
    assert search["decode_ms"] > 0 == search["copy_ms"]
    assert delete["sql_ms"] > 0 == delete["decode_ms"]
    assert [0] * len(_PARTS) == [stranger[part] for part in _PARTS]


def test_words_by_setting_and_failures_at_any_level() -> None:
    """``text`` is for people; no success has a line at share 0, each failure has, and no less."""
    environment = {
        "PRODUCTSEARCH_ENGINE_LOG_FORMAT": "text",
        "PRODUCTSEARCH_ENGINE_LOG_LEVEL": "error",
        "PRODUCTSEARCH_ENGINE_ACCESS_LOG_SUCCESSES": "0",
    }
    with Engine(environment=environment) as engine:
        caller = Caller(engine.url, *engine.create_library("shop"))
        caller.call("add", image=jpeg(1), brief="x")
        caller.call("delete", cont_sign="1,2")
        until(lambda: "method=delete" in engine.log(), "the line of the failure")
        (line,) = engine.log().splitlines()
        caller.close()
    assert "INFO productsearch_engine.access method=delete library=shop code=216680 ms=" in line
    assert " sql_ms=" in line
