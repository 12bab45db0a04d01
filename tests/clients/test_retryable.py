"""``is_retryable`` has the truth table of all clients; Go and Java read the same file."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from productsearch import v1
from tests.clients.running import ROOT
from tests.ports import free_port

CASES = json.loads((ROOT / "tests/interop/retryable.json").read_text("utf-8"))


def _status(case: dict[str, Any]) -> status_pb2.Status:
    details: list[Any] = []
    if case["reason"]:
        details.append(
            error_details_pb2.ErrorInfo(reason=case["reason"], domain="productsearch.v1")
        )
    if case["delay_s"] is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(case["delay_s"] * 1e9))
        details.append(retry)
    status = status_pb2.Status(code=grpc.StatusCode[case["code"]].value[0])
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["error"])
def test_the_truth_table(case: dict[str, Any]) -> None:
    """A delay, an add of unknown outcome, or gRPC's own UNAVAILABLE; nothing else."""
    assert case["retryable"] is v1.is_retryable(_status(case))


def test_a_delay_of_the_past_is_none() -> None:
    """Who waits for it would fail instead."""
    case = {"reason": "RATE_LIMITED", "delay_s": -1.5, "code": "RESOURCE_EXHAUSTED"}
    assert 0.0 == v1.retry_delay_of(_status(case))


def test_a_refused_connection_is_retryable() -> None:
    """Its error names no delay."""
    target, once = f"127.0.0.1:{free_port()}", [("grpc.enable_retries", 0)]
    with v1.connect(target, options=once) as channel, pytest.raises(grpc.RpcError) as raised:
        v1.ProductSearchStub(channel).SearchImages(v1.SearchImagesRequest())
    assert v1.retry_delay_of(raised.value) is None
    assert v1.is_retryable(raised.value)


def test_a_stream_without_a_connection_is_retryable() -> None:
    """BulkInterrupted is read as well."""
    item = v1.BulkAddImagesRequest.Item(key="a")
    target = f"127.0.0.1:{free_port()}"
    with v1.connect(target) as channel, pytest.raises(v1.BulkInterrupted) as raised:
        next(v1.bulk_add(v1.ProductSearchStub(channel), [item]))
    assert v1.is_retryable(raised.value)
    assert [item] == raised.value.unanswered
