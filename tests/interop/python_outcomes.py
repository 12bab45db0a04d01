"""What both Python runners share: messages from JSON, outcomes from answers and errors."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from productsearch import v1

Json = dict[str, Any]

REQUESTS: Final[dict[str, type[Message]]] = {
    "AddImage": v1.AddImageRequest,
    "SearchImages": v1.SearchImagesRequest,
    "UpdateImage": v1.UpdateImageRequest,
    "DeleteImage": v1.DeleteImageRequest,
    "BatchDeleteImages": v1.BatchDeleteImagesRequest,
}
UNSUPPORTED: Final[Json] = {"unsupported": True}


def request_of(case: Json) -> Any:
    """Return the request message of a unary case."""
    return json_format.ParseDict(case["request"], REQUESTS[case["method"]]())


def search_of(case: Json) -> v1.SearchImagesRequest:
    """Return the request message of a pages case."""
    return json_format.ParseDict(case["request"], v1.SearchImagesRequest())


def settings_of(case: Json) -> v1.BulkAddImagesRequest.Settings:
    """Return the settings of a bulk case."""
    return json_format.ParseDict(case["settings"], v1.BulkAddImagesRequest.Settings())


def item_of(written: Json) -> v1.BulkAddImagesRequest.Item:
    """Return one item of a bulk case."""
    return json_format.ParseDict(written, v1.BulkAddImagesRequest.Item())


def credentials_of(target: Json) -> grpc.ChannelCredentials | None:
    """Return what a channel to this target needs; None for plaintext."""
    if "ca" not in target:
        return None
    names = ("ca", "key", "certificate")
    pem = [Path(target[name]).read_bytes() if name in target else None for name in names]
    return grpc.ssl_channel_credentials(*pem)


def answered(response: Message) -> Json:
    """Return the outcome of a call that succeeded."""
    return {
        "code": "OK",
        "response": json_format.MessageToDict(response),
        "message": None,
        "reason": None,
        "retry_delay_s": None,
        "upstream_code": None,
        "log_id": None,
        "cont_sign": None,
        "field_violations": {},
    }


def failed(error: grpc.RpcError | status_pb2.Status) -> Json:
    """Return the outcome of a call, or of a bulk item, that failed."""
    if isinstance(error, status_pb2.Status):
        code, message = code_pb2.Code.Name(error.code), error.message
    else:
        raised: Any = error
        code, message = raised.code().name, raised.details()
    log_id = v1.log_id_of(error)
    return {
        "code": code,
        "response": None,
        "message": message,
        "reason": reason_name(error),
        "retry_delay_s": v1.retry_delay_of(error),
        "upstream_code": v1.upstream_code_of(error),
        "log_id": None if log_id is None else str(log_id),
        "cont_sign": v1.cont_sign_of(error),
        "field_violations": v1.field_violations_of(error),
    }


def reason_name(error: grpc.RpcError | status_pb2.Status) -> str | None:
    """Return the name of the error's reason."""
    reason = v1.reason_of(error)
    return None if reason is None else v1.ErrorReason.Name(reason)


def crashed() -> Json:
    """Return the outcome of a case that raised what no call raises."""
    return {"crashed": traceback.format_exc(limit=-3)}


class Bulk:
    """Notes the results of a bulk case."""

    def __init__(self, items: list[Json]) -> None:
        self._order = {item["key"]: number for number, item in enumerate(items)}
        self._last = -1
        self._answers: dict[str, int] = {}
        self.results: dict[str, Json] = {}
        self.out_of_order = False

    def note(self, result: v1.BulkAddImagesResponse.ItemResult) -> None:
        """Note one result."""
        number = self._order.get(result.key, -1)
        self.out_of_order |= number < self._last
        self._last = max(self._last, number)
        self._answers[result.key] = self._answers.get(result.key, 0) + 1
        went_well = result.HasField("added")
        self.results[result.key] = answered(result.added) if went_well else failed(result.error)

    def outcome(self, summary: v1.BulkAddImagesResponse.Summary | None) -> Json:
        """Return the case's outcome."""
        return {
            "code": "OK",
            "results": self.results,
            "answers_max": max(self._answers.values(), default=0),
            "out_of_order": self.out_of_order,
            "summary": None if summary is None else json_format.MessageToDict(summary),
        }

    def left(self, items: list[Json]) -> list[Json]:
        """Return the items without a result."""
        return [item for item in items if item["key"] not in self.results]

    @property
    def failed(self) -> int:
        """How many results are errors."""
        return sum(result["code"] != "OK" for result in self.results.values())
