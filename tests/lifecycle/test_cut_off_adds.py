"""Adds that the end of the drain grace cuts off: what is told, and that nobody repeats them."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import pytest

from productsearch import v1
from productsearch_service.call_context import NOBODY, CallContext
from productsearch_service.errors import ServerDraining
from productsearch_service.rpc.admission import Admission, Place
from tests.calls.http2 import (
    END_HEADERS,
    HEADERS,
    PREFACE,
    RESET,
    SETTINGS,
    frame,
    head,
    message,
)
from tests.conftest import ServerFactory
from tests.fakes.upstream import FakeUpstream, Fault
from tests.lifecycle.asking import until
from tests.pictures import jpeg
from tests.ports import free_port

GOAWAY = 7
REFUSED_STREAM = 7
"""RFC 9113, 7: no part of the call was begun. Proxies and clients of gRPC repeat those at once."""
ADD = v1.AddImageRequest(new_image=v1.NewImage(image=v1.ImageSource(content=jpeg(1)), brief="b"))
GRACE_S = 0.3
UNKNOWN = v1.ErrorReason.ADD_OUTCOME_UNKNOWN
DRAINING = v1.ErrorReason.SERVER_DRAINING
HANGS = Fault("stall", seconds=5)


def _frames(received: bytes) -> list[tuple[int, int, bytes]]:
    """Return kind, stream and payload of each frame of HTTP/2."""
    found, at = [], 0
    while at + 9 <= len(received):
        length, kind, _, stream = struct.unpack(">IBBI", b"\0" + received[at : at + 9])
        found.append((kind, stream, received[at + 9 : at + 9 + length]))
        at += 9 + length
    return found


def test_an_add_that_is_cut_off_is_not_said_to_be_unbegun(
    server: ServerFactory, upstream: FakeUpstream
) -> None:
    """Neither its reset nor the connection's end says that the add was not begun."""
    upstream.always("add", HANGS)
    running = server(drain_grace_s=GRACE_S)
    received = b""
    with socket.create_connection(("127.0.0.1", running.port), 20) as line:
        line.sendall(PREFACE + frame(SETTINGS, 0, 0))
        line.sendall(frame(HEADERS, END_HEADERS, 1, head("AddImage")))
        line.sendall(message(1, ADD.SerializeToString()))
        until(lambda: upstream.calls, "the add at the upstream")
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        while part := line.recv(65536):
            received += part
        stopping.join()
    frames = _frames(received)
    resets = [struct.unpack(">I", told)[0] for kind, stream, told in frames if kind == RESET]
    lasts = [struct.unpack(">I", told[:4])[0] for kind, _, told in frames if kind == GOAWAY]
    assert REFUSED_STREAM not in resets
    assert 1 <= lasts[-1]
    assert any(kind == HEADERS and b"grpc-status\x012" in told for kind, _, told in frames)
    assert b"productsearch-not-begun" not in received


def test_no_client_repeats_it_by_itself(server: ServerFactory, upstream: FakeUpstream) -> None:
    """The next replica is there at the same address when the first one ends; it gets no add."""
    upstream.always("add", HANGS)
    address = f"127.0.0.1:{free_port()}"
    running = server(listen=address, drain_grace_s=GRACE_S)
    with v1.connect(address) as channel:
        stub = v1.ProductSearchStub(channel)
        call = stub.AddImage.future(ADD, timeout=20)
        until(lambda: upstream.calls, "the add at the upstream")
        running.stop()
        server(listen=address)
        assert UNKNOWN == v1.reason_of(call.exception())
        search = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(2)))
        stub.SearchImages(search, timeout=20, wait_for_ready=True)
    assert ["add", "search"] == [received.method for received in upstream.calls]


def test_one_of_which_nothing_was_sent_may_be_repeated(
    server: ServerFactory, upstream: FakeUpstream
) -> None:
    """It waited for its turn in the quota: a proxy may send it to another replica."""
    upstream.always("add", HANGS)
    running = server({"quota_qps": 0.1}, drain_grace_s=GRACE_S)
    with v1.connect(f"127.0.0.1:{running.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        calls = [stub.AddImage.future(ADD) for _ in range(2)]
        until(lambda: upstream.calls and running.service._admission.unary.in_flight[0] == 2, "both")
        running.stop()
        by_reason = {v1.reason_of(call.exception()): call.trailing_metadata() for call in calls}
    assert {UNKNOWN, DRAINING} == set(by_reason)
    not_begun = ("productsearch-not-begun", "draining")
    assert not_begun in by_reason[DRAINING]
    assert not_begun not in by_reason[UNKNOWN]
    assert ["add"] == [received.method for received in upstream.calls]


def test_items_of_a_stream_are_answered_too(server: ServerFactory, upstream: FakeUpstream) -> None:
    """Those that were sent, in words."""
    upstream.always("add", HANGS)
    running = server(drain_grace_s=GRACE_S)
    keys = ["1", "2", "3"]
    new_image = ADD.new_image
    items = [v1.BulkAddImagesRequest.Item(key=key, new_image=new_image) for key in keys]
    with v1.connect(f"127.0.0.1:{running.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        stream = stub.BulkAddImages(v1.BulkAddImagesRequest(item=each) for each in items)
        until(lambda: len(upstream.calls) == len(keys), "the items at the upstream")
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        *results, last = stream
        stopping.join()
    assert [(key, UNKNOWN) for key in keys] == sorted(
        (each.result.key, v1.reason_of(each.result.error)) for each in results
    )
    assert len(keys) == last.summary.failed_count


@pytest.mark.asyncio
async def test_one_that_is_begun_after_the_others_were_ended_is_not_sent() -> None:
    """Its message was being received then: it would be cut off in the middle, and not in words."""
    admission, begun = Admission(), []

    async def work() -> None:
        begun.append(1)

    admission.end_adds()
    for deadline in (None, 10.0):
        with pytest.raises(ServerDraining):
            await CallContext.begin(NOBODY, deadline).bounded(work(), admission.adds)
    await CallContext.begin(NOBODY, 10.0).bounded(work())
    assert [1] == begun


@pytest.mark.asyncio
async def test_an_answer_that_is_on_its_way_is_waited_for() -> None:
    """The add is stored: to be cut off then, its caller would be told UNAVAILABLE."""
    admission = Admission()
    assert not admission.end_adds()

    async def call() -> None:
        Place(admission, NOBODY, 1).answered(1)
        await asyncio.sleep(0)
        assert admission.end_adds()

    await asyncio.create_task(call())
    await asyncio.sleep(0)
    assert not admission.end_adds()
