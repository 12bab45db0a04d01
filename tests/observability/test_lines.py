"""One line an RPC says whose fault its end was, and where its time went."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from prometheus_client import CollectorRegistry

from productsearch import v1
from productsearch_service import limits
from productsearch_service.call_context import Caller
from productsearch_service.counters import CALL_DURATION
from productsearch_service.observability.logs import JsonFormatter, RedactingFormatter
from productsearch_service.redaction import register_secret
from productsearch_service.rpc import access_record
from productsearch_service.rpc.call import Call
from productsearch_service.rpc.interceptor import SERVICE
from tests.calls.silent import policy_file, token_of
from tests.calls.watching import Held, image
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, error
from tests.lifecycle.asking import until
from tests.pictures import jpeg

IMAGE = v1.ImageSource(content=jpeg(1))
SEARCH = v1.SearchImagesRequest(image=IMAGE)
Bulk = v1.BulkAddImagesRequest


class Lines(logging.Handler):
    """The access lines, as the JSON that they are written as."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, Any]] = []
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        lines = JsonFormatter().format(record).split("\n")
        self.found += map(json.loads, lines)
        self.told += RedactingFormatter().format(record).split("\n")
        assert len(self.found) == len(self.told)

    def last(self, count: int = 1) -> dict[str, Any]:
        """Return the last line, once there are ``count``; it may come after the answer."""
        until(lambda: len(self.found) >= count, "the line of the call")
        return self.found[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Return what the access log gets."""
    logger, found = logging.getLogger(access_record.NAME), Lines()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(found)
    yield found
    logger.removeHandler(found)
    logger.setLevel(before)


def _registry(server: Server) -> CollectorRegistry:
    return server.service._counters.registry


def _count(server: Server, name: str, **labels: str) -> float:
    told = {"library": "default"} | labels if name == "errors" else labels
    return _registry(server).get_sample_value(f"productsearch_{name}_total", told) or 0.0


def test_a_success_carries_the_upstreams_log_id(
    server: ServerFactory, upstream: FakeUpstream, lines: Lines
) -> None:
    """The line joins with the upstream's own, and has attempts, waits and bytes."""
    upstream.then("search", error(18))  # at least so long is waited before the next attempt
    upstream.always("search", {"log_id": 4711, "result": [], "has_more": False})
    with v1.connect(f"127.0.0.1:{server().port}") as channel:
        v1.ProductSearchStub(channel).SearchImages(SEARCH)
    line = lines.last()
    assert ("SearchImages", "default", "OK", "-", "none") == tuple(
        line[name] for name in ("rpc", "library", "code", "reason", "blame")
    )
    assert (4711, 0, 2, "yes", "-", "-") == tuple(
        line[name] for name in ("log_id", "upstream_code", "attempts", "sent", "breaker", "peer")
    )
    assert SEARCH.ByteSize() == line["bytes_in"]
    assert v1.SearchImagesResponse(log_id=4711).ByteSize() == line["bytes_out"]
    assert all(line[name] >= 0 for name in ("place_ms", "quota_ms", "token_ms"))
    assert line["upstream_ms"] > 0
    assert line["retry_ms"] > 0
    parts = ("place_ms", "quota_ms", "token_ms", "retry_ms", "upstream_ms")
    assert 0.5 * line["ms"] <= sum(line[name] for name in parts) <= line["ms"] + 1
    assert line["version"]


def test_a_write_carries_the_upstreams_log_id(
    server: ServerFactory, upstream: FakeUpstream, lines: Lines
) -> None:
    """An add's line joins with the upstream's own."""
    upstream.always("add", {"log_id": 4712, "cont_sign": "1,2"})
    add = v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b"))
    with v1.connect(f"127.0.0.1:{server().port}") as channel:
        v1.ProductSearchStub(channel).AddImage(add)
    assert 4712 == lines.last()["log_id"]


@pytest.mark.parametrize(
    ("code", "reason", "blame"),
    [
        (216630, "UPSTREAM_UNAVAILABLE", "upstream"),
        (17, "QUOTA_EXHAUSTED", "quota"),
        (14, "UPSTREAM_CREDENTIALS_REJECTED", "facade"),
        (216200, "IMAGE_UNREADABLE", "caller"),
    ],
)
def test_an_error_names_the_culprit(
    code: int,
    reason: str,
    blame: str,
    server: ServerFactory,
    upstream: FakeUpstream,
    lines: Lines,
) -> None:
    """In the line and in the metric, with the upstream's code; whatever is sampled."""
    upstream.always("search", error(code))
    facade = server(access_log_successes=0)
    with v1.connect(f"127.0.0.1:{facade.port}") as channel, pytest.raises(grpc.RpcError):
        v1.ProductSearchStub(channel).SearchImages(SEARCH)
    line = lines.last()
    assert (reason, blame, code) == (line["reason"], line["blame"], line["upstream_code"])
    labels = {"method": "SearchImages", "reason": reason, "blame": blame, "breaker": "-"}
    assert 1 == _count(facade, "errors", **labels)
    assert f"reason={reason} blame={blame} upstream_code={code}" in lines.told[-1]


def test_successes_are_sampled_by_setting(
    server: ServerFactory, upstream: FakeUpstream, lines: Lines
) -> None:
    """At 0 no success has a line, and the error after them has one."""
    facade = server(access_log_successes=0)
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        stub.SearchImages(SEARCH)
        upstream.always("search", error(17))
        with pytest.raises(grpc.RpcError):
            stub.SearchImages(SEARCH)
    assert ["QUOTA_EXHAUSTED"] == [lines.last()["reason"]] == [one["reason"] for one in lines.found]


def test_calls_that_the_breaker_refuses_are_counted_apart(
    server: ServerFactory, upstream: FakeUpstream, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says that it opened, why, and whose library it is; refused calls were not sent."""
    caplog.set_level(logging.INFO)
    upstream.always("search", error(17))
    facade = server()
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                v1.ProductSearchStub(channel).SearchImages(SEARCH)
    lines.last(3)
    assert ["yes", "no", "no"] == [line["sent"] for line in lines.found]
    assert ["-", "open", "open"] == [line["breaker"] for line in lines.found]
    labels = {"method": "SearchImages", "reason": "QUOTA_EXHAUSTED", "blame": "quota"}
    counts = [_count(facade, "errors", **labels, breaker=each) for each in ("-", "open")]
    assert [1, 2] == counts
    assert 2 == _count(facade, "breaker_refusals", library="default", gate="quota")
    opened = [one.getMessage() for one in caplog.records if "opened" in one.getMessage()]
    assert 1 == len(opened)
    assert opened[0].startswith(f"library default ({upstream.url}): the quota's gate opened: ")
    assert opened[0].endswith("(QUOTA_EXHAUSTED)")


def test_a_stream_whose_items_all_failed_is_not_green(
    server: ServerFactory, lines: Lines, tmp_path: Path
) -> None:
    """Twenty unreadable images: the wire says OK, line and metrics say what came of them."""
    facade = server(access_log_successes=0, policy_file=policy_file(tmp_path))
    bad = v1.NewImage(image=v1.ImageSource(content=b"no image"), brief="b")
    items = [Bulk(item=Bulk.Item(key=str(n), new_image=bad)) for n in range(20)]
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        assert 21 == len([*stub.BulkAddImages(iter(items), metadata=token_of("one"))])
    line = lines.last()
    assert ("OK", "IMAGE_UNREADABLE", "caller") == (line["code"], line["reason"], line["blame"])
    assert "failed:IMAGE_UNREADABLE=20" == line["items"]
    assert sum(one.ByteSize() for one in items) == line["bytes_in"]
    labels = {"method": "BulkAddImages", "reason": "IMAGE_UNREADABLE"}
    whose = {"caller": "one", "library": "default"}
    assert 20 == _count(facade, "items", **labels, **whose, outcome="failed")
    assert 1 == _count(facade, "errors", **labels, blame="caller", breaker="-")


def test_items_of_a_stream_that_is_left_are_counted(
    server: ServerFactory, upstream: FakeUpstream, lines: Lines
) -> None:
    """What was under way may be stored: metrics and line say of how many items nobody knows."""
    held = Held({})
    upstream.always("add", held)
    facade = server()
    items = [
        Bulk(item=Bulk.Item(key=str(n), new_image=v1.NewImage(image=image(n), brief="b")))
        for n in range(3)
    ]
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        stream = v1.ProductSearchStub(channel).BulkAddImages(iter(items))
        until(lambda: held.arrived == 3, "three items under way")
        stream.cancel()
        line = lines.last()
    held.release()
    assert ("CANCELLED", "cancelled=3") == (line["code"], line["items"])
    labels = {"method": "BulkAddImages", "caller": "other", "library": "default", "reason": ""}
    assert 3 == _count(facade, "items", **labels, outcome="cancelled")


def test_who_has_no_proved_name_has_an_address(
    server: ServerFactory, lines: Lines, tmp_path: Path
) -> None:
    """The line of a refused stranger says where to look; a known caller's has the name alone."""
    facade = server(policy_file=policy_file(tmp_path))
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.SearchImages(SEARCH, metadata=(("authorization", "Bearer wrong"),))
        stub.SearchImages(SEARCH, metadata=token_of("one"))
    lines.last(2)
    assert [("", "127.0.0.1"), ("one", "-")] == [
        (line["caller"], line["peer"]) for line in lines.found
    ]


def test_a_stream_of_which_one_item_succeeded_is_green(server: ServerFactory, lines: Lines) -> None:
    """Its line counts both outcomes, and no error is counted."""
    facade = server()
    both = [IMAGE, v1.ImageSource(content=b"no image")]
    items = [
        Bulk(item=Bulk.Item(key="k", new_image=v1.NewImage(image=one, brief="b"))) for one in both
    ]
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        assert 3 == len([*v1.ProductSearchStub(channel).BulkAddImages(iter(items))])
    line = lines.last()
    assert "-" == line["reason"]
    assert {"created=1", "failed:IMAGE_UNREADABLE=1"} == {*line["items"].split(",")}


def test_results_of_a_batch_are_counted(
    server: ServerFactory, lines: Lines, tmp_path: Path
) -> None:
    """A malformed signature fails alone: one deleted, one failed."""
    facade = server(policy_file=policy_file(tmp_path))
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        v1.ProductSearchStub(channel).BatchDeleteImages(
            v1.BatchDeleteImagesRequest(cont_signs=["1,2", "no signature"]),
            metadata=token_of("one"),
        )
    assert {"deleted=1", "failed:FIELD_INVALID=1"} == {*lines.last()["items"].split(",")}
    labels = {"method": "BatchDeleteImages", "caller": "one", "library": "default"}
    assert 1 == _count(facade, "items", **labels, outcome="deleted", reason="")


@pytest.mark.parametrize("around", ["{}", 'access_token={}"x', '\\"{}\\"', "{}\nrpc=AddImage"])
def test_what_callers_make_up_forges_no_line_and_tells_no_secret(around: str, lines: Lines) -> None:
    """Quotes, backslashes, line ends and a secret: one JSON object, without the secret."""
    register_secret("a-secret-of-this-test")
    made_up = around.format("a-secret-of-this-test")
    call = Call("SearchImages", lambda _: None, Caller(made_up), library_told=made_up)
    access_record.AccessLog().write([call])
    assert "a-secret" not in json.dumps(lines.last())
    assert 1 == len(lines.found)
    message = logging.makeLogRecord({"msg": made_up, "name": "any"})
    assert "a-secret" not in json.loads(JsonFormatter().format(message))["message"]


@pytest.mark.parametrize("path", [f"{SERVICE}Explode", "/somebody.elses.v7.Service/Call", "/x"])
def test_a_method_that_is_not_there_leaves_a_line(
    path: str, server: ServerFactory, lines: Lines
) -> None:
    """Under one name, whatever a caller makes up; it and the metrics blame the caller."""
    facade = server(access_log_successes=0)
    for _ in range(2):
        assert grpc.StatusCode.UNIMPLEMENTED is _refused(facade.port, path, b"")
    line = lines.last(2)
    told = tuple(line[name] for name in ("rpc", "caller", "code", "reason", "blame"))
    assert ("_OTHER", "127.0.0.1", "UNIMPLEMENTED", "-", "caller") == told
    labels = {"method": "_OTHER", "reason": "-", "blame": "caller", "breaker": "-"}
    assert 2 == _count(facade, "errors", **labels, library="")
    labels = {"rpc_method": f"{SERVICE[1:]}_OTHER", "rpc_status_code": "UNIMPLEMENTED"}
    assert 2 == _registry(facade).get_sample_value(f"{CALL_DURATION}_count", labels)


@pytest.mark.parametrize("path", ["SearchImages", "BulkAddImages"])
@pytest.mark.parametrize(
    ("content", "options", "told", "line"),
    [
        (b"\xff\xff", {}, "INVALID_ARGUMENT", ("INVALID_ARGUMENT", "FIELD_INVALID")),
        (bytes(limits.RECEIVE_BYTES_MAX + 1), {}, "RESOURCE_EXHAUSTED", None),
        (bytes(100_000), {"compression": grpc.Compression.Gzip}, "UNIMPLEMENTED", None),
        (b"", {"metadata": (("x-long", "x" * 30_000),)}, "RESOURCE_EXHAUSTED", None),
    ],
    ids=["malformed", "too large", "compressed", "long metadata"],
)
def test_what_grpc_itself_refuses_leaves_a_line_that_blames_the_caller(
    path: str,
    content: bytes,
    options: dict[str, Any],
    told: str,
    line: tuple[str, str] | None,
    server: ServerFactory,
    lines: Lines,
) -> None:
    """GRPC tells the caller why; where it does not tell us, the line is of a call that was left."""
    facade = server(access_log_successes=0)
    assert told == _refused(facade.port, SERVICE + path, content, **options).name
    found = lines.last()
    assert (path, "caller") == (found["rpc"], found["blame"])
    unread = [("CANCELLED", "-"), ("INVALID_ARGUMENT", "FIELD_INVALID")]
    assert (found["code"], found["reason"]) in ([line] if line is not None else unread)


def _refused(port: int, path: str, content: bytes, **options: Any) -> grpc.StatusCode:
    """Make a call of raw bytes and return the code with which it fails."""
    unbounded = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=unbounded) as channel:
        call = channel.stream_stream(path)(iter([content]), timeout=20, **options)
        with pytest.raises(grpc.RpcError):
            list(call)
        return cast("grpc.StatusCode", call.code())


def test_refused_strangers_get_a_line_a_second(
    server: ServerFactory, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are: of those that are alike one, and then how many were left out. Others'
    errors have a line each.
    """
    monkeypatch.setattr(limits, "STRANGERS_LINE_S", 3600.0)
    running = server(policy_file=policy_file(tmp_path))
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub = v1.ProductSearchStub(channel)

        def refused(count: int, caller: str = "") -> None:
            for _ in range(count):
                with pytest.raises(grpc.RpcError):
                    stub.SearchImages(v1.SearchImagesRequest(), metadata=token_of(caller))

        refused(300)
        refused(3, "one")
        until(lambda: len(lines.found) >= 4, "the lines of calls")
        told = [(line["caller"], line["reason"], line.get("left_out")) for line in lines.found]
        named = ("one", "FIELD_INVALID", None)
        assert [("", "CALLER_UNAUTHENTICATED", None), named, named, named] == told
        monkeypatch.setattr(limits, "STRANGERS_LINE_S", 0.0)
        refused(1)
        assert 299 == lines.last(5)["left_out"]
