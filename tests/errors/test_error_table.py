"""Every row of the error table, reached over real HTTP and real gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc import error_details_pb2

from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service import errors
from productsearch_service.rpc import status
from productsearch_service.upstream import codes
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream, Fault, error
from tests.pictures import jpeg

C = grpc.StatusCode
IMAGE = v1.ImageSource(content=jpeg(1))
ADD = v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b"))
SEARCH = v1.SearchImagesRequest(image=IMAGE)
DELETE = v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"))


class Row(NamedTuple):
    """What an upstream's code becomes."""

    code: grpc.StatusCode
    reason: int
    waiting_helps: bool = False
    calls: int = 1


_BACK_OFF = Row(C.UNAVAILABLE, R.UPSTREAM_UNAVAILABLE, True, 3)
_FIELD = Row(C.INVALID_ARGUMENT, R.FIELD_INVALID)
_IMAGE = Row(C.INVALID_ARGUMENT, R.IMAGE_UNREADABLE)
_KEYS = Row(C.INTERNAL, R.UPSTREAM_CREDENTIALS_REJECTED)
_TOKEN = Row(C.INTERNAL, R.UPSTREAM_CREDENTIALS_REJECTED, calls=2)
_PROTOCOL = Row(C.INTERNAL, R.UPSTREAM_PROTOCOL)
_QUOTA = Row(C.RESOURCE_EXHAUSTED, R.QUOTA_EXHAUSTED)

BY_UPSTREAM_CODE: dict[int, Row] = {
    1: _BACK_OFF,
    2: _BACK_OFF,
    3: _PROTOCOL,
    4: _BACK_OFF,
    6: _KEYS,
    13: _BACK_OFF,
    14: _KEYS,
    15: _KEYS,
    17: _QUOTA,
    18: Row(C.RESOURCE_EXHAUSTED, R.RATE_LIMITED, True, 3),
    19: _QUOTA,
    100: _TOKEN,
    110: _TOKEN,
    111: _TOKEN,
    216017: Row(C.FAILED_PRECONDITION, R.LIBRARY_NOT_READY),
    216100: _FIELD,
    216101: _FIELD,
    216102: _PROTOCOL,
    216103: _FIELD,
    216110: _KEYS,
    216200: _IMAGE,
    216201: _IMAGE,
    216202: Row(C.INVALID_ARGUMENT, R.IMAGE_SIZE_INVALID),
    216203: _IMAGE,
    216630: _BACK_OFF,
    216634: _BACK_OFF,
    216680: Row(C.NOT_FOUND, R.IMAGE_NOT_FOUND),
    216681: Row(C.ALREADY_EXISTS, R.IMAGE_ALREADY_EXISTS),
    282000: _BACK_OFF,
    282003: _FIELD,
    282005: _PROTOCOL,
    282006: _PROTOCOL,
    282111: _FIELD,
    282112: Row(C.FAILED_PRECONDITION, R.IMAGE_URL_UNREACHABLE, calls=3),
    282113: Row(C.FAILED_PRECONDITION, R.IMAGE_URL_UNREACHABLE),
    282114: _FIELD,
    283300: _IMAGE,
    990001: Row(C.RESOURCE_EXHAUSTED, R.LIBRARY_FULL),
    424242: _PROTOCOL,
}


def failure_of(call: Callable[[], Any]) -> grpc.RpcError:
    """Return the error that the call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def details_of(failure: grpc.RpcError) -> dict[str, Any]:
    """Return the details of a failure by their type's name."""
    full = v1.status_of(failure)
    assert full is not None
    found: dict[str, Any] = {}
    for packed in full.details:
        name = packed.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        packed.Unpack(found[name])
    return found


def check(failure: grpc.RpcError, row: Row) -> dict[str, Any]:
    """Compare a failure with its row, and what every error carries with the rules."""
    details = details_of(failure)
    assert (row.code, R.Name(row.reason)) == (failure.code(), details["ErrorInfo"].reason)
    assert "productsearch.v1" == details["ErrorInfo"].domain
    assert row.reason == v1.reason_of(failure)
    assert row.waiting_helps == ("RetryInfo" in details)
    assert row.waiting_helps == (v1.retry_delay_of(failure) is not None)
    assert (row.code is C.INVALID_ARGUMENT) == bool(v1.field_violations_of(failure))
    assert (row.reason in (R.QUOTA_EXHAUSTED, R.LIBRARY_FULL)) == ("QuotaFailure" in details)
    return details


def test_the_table_is_complete() -> None:
    """Each code of the service's table has a row here, and one code is in no table."""
    assert {*BY_UPSTREAM_CODE} - {424242} == {*codes.MEANINGS}


def test_every_reason_has_one_error_and_one_code() -> None:
    """The reasons of the proto, the exceptions and the status codes are the same set."""

    def leaves(kind: type[errors.ServiceError]) -> set[type[errors.ServiceError]]:
        below = {leaf for child in kind.__subclasses__() for leaf in leaves(child)}
        return below or {kind}

    reasons = sorted(kind.reason for kind in leaves(errors.ServiceError))
    assert sorted({*R.keys()} - {"ERROR_REASON_UNSPECIFIED"}) == reasons
    assert sorted(status.CODES) == reasons


@pytest.mark.parametrize("code", BY_UPSTREAM_CODE)
def test_upstream_code(code: int, stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """A search answered with this code fails with its row, number, message and log_id."""
    row = BY_UPSTREAM_CODE[code]
    sign = {"cont_sign": "8,9"} if code == 216681 else {}
    upstream.always("search", error(code, "as it said", log_id=2**63 - 5, **sign))
    failure = failure_of(lambda: stub.SearchImages(SEARCH))
    details = check(failure, row)
    assert code == v1.upstream_code_of(failure)
    assert "as it said" == details["ErrorInfo"].metadata["upstreamMessage"]
    assert 2**63 - 5 == v1.log_id_of(failure)
    assert row.calls == len(upstream.calls)
    assert sign.get("cont_sign") == v1.cont_sign_of(failure)


@pytest.mark.parametrize("code", [100, 110, 111])
def test_a_rejected_token_is_replaced_once_and_the_call_replayed(
    code: int, stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """One rejection: one new token, the same call again, and nobody notices."""
    upstream.then("search", error(code))
    stub.SearchImages(SEARCH)
    assert ["24.token-1", "24.token-2"] == [call.token for call in upstream.calls]
    assert upstream.calls[0].body == upstream.calls[1].body


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (Fault(status=502, body=b"<html>bad gateway</html>"), _BACK_OFF),
        (Fault(kind="close"), _BACK_OFF),
        (Fault(kind="reset"), _BACK_OFF),
        (Fault(kind="cut"), _BACK_OFF),
        (Fault(status=404, body=b"<html>nothing here</html>"), _PROTOCOL._replace(calls=3)),
        (Fault(status=302, body=b""), _PROTOCOL._replace(calls=3)),
        (b"<html>fine</html>", _PROTOCOL._replace(calls=3)),
        (b"[]", _PROTOCOL._replace(calls=3)),
        ({"log_id": 1}, _PROTOCOL._replace(calls=3)),
        ({"error_code": "SDK108", "error_msg": "x"}, _PROTOCOL._replace(calls=3)),
    ],
    ids=lambda value: str(value)[:30] if not isinstance(value, Row) else "",
)
def test_answers_that_are_none(
    answer: Any, row: Row, stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """Broken connections are UPSTREAM_UNAVAILABLE, unreadable answers UPSTREAM_PROTOCOL."""
    upstream.always("search", answer)
    check(failure_of(lambda: stub.SearchImages(SEARCH)), row)
    assert row.calls == len(upstream.calls)


def test_an_upstream_that_cannot_be_reached(facade: FacadeFactory) -> None:
    """A refused connection is UPSTREAM_UNAVAILABLE, for an add too: nothing was sent."""
    stub = facade({"base_url": "http://127.0.0.1:9"})
    check(failure_of(lambda: stub.AddImage(ADD)), _BACK_OFF)


@pytest.mark.parametrize(
    "answer",
    [Fault(kind="close"), Fault(kind="cut"), b"no json", error(282000), error(1)],
    ids=["close", "cut", "unreadable", "282000", "1"],
)
def test_an_add_that_cannot_be_settled(
    answer: Any, stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """An add that may have been carried out is never UNAVAILABLE, which proxies repeat."""
    upstream.always("add", answer)
    failure = failure_of(lambda: stub.AddImage(ADD))
    check(failure, Row(C.UNKNOWN, R.ADD_OUTCOME_UNKNOWN))
    assert 3 == len(upstream.calls)


def test_an_add_is_settled_by_asking_again(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A lost answer, then 216681: the first attempt stored it, so the add succeeded."""
    upstream.then("add", Fault(kind="cut"), error(216681, cont_sign="8,9", log_id=5))
    response = stub.AddImage(ADD)
    assert ("8,9", v1.AddOutcome.ADD_OUTCOME_CREATED) == (response.cont_sign, response.outcome)


def test_a_delete_is_settled_by_asking_again(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A lost answer, then 216680: the first attempt deleted it, so the delete succeeded."""
    upstream.then("delete", Fault(kind="cut"), error(216680, log_id=5))
    assert 5 == stub.DeleteImage(DELETE).log_id


def test_credentials_that_the_token_endpoint_rejects(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """invalid_client is the operator's fault: INTERNAL, and no call is made."""
    answer = b'{"error": "invalid_client", "error_description": "unknown client id"}'
    upstream.always("token", Fault(status=401, body=answer))
    check(failure_of(lambda: stub.AddImage(ADD)), _KEYS)
    assert [] == upstream.calls


def test_a_library_nobody_configured(stub: v1.ProductSearchStub) -> None:
    """An unknown library is NOT_FOUND with LIBRARY_UNKNOWN."""
    request = v1.SearchImagesRequest(library="shoes", image=IMAGE)
    check(failure_of(lambda: stub.SearchImages(request)), Row(C.NOT_FOUND, R.LIBRARY_UNKNOWN))


def test_a_page_token_of_another_search(stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """A token sent along with another image, or made up, is PAGE_TOKEN_INVALID."""
    upstream.always("search", {"log_id": 1, "result": [], "has_more": True})
    token = stub.SearchImages(SEARCH).next_page_token
    other = v1.ImageSource(content=jpeg(2))
    row = Row(C.INVALID_ARGUMENT, R.PAGE_TOKEN_INVALID)
    for image, sent in ((other, token), (IMAGE, "made up"), (IMAGE, token[:-4])):
        request = v1.SearchImagesRequest(image=image, page_token=sent)
        failure = failure_of(lambda request=request: stub.SearchImages(request))
        check(failure, row)
        assert ["page_token"] == [*v1.field_violations_of(failure)]


def test_a_page_past_the_window(stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """A page that begins at the 1000th result is OUT_OF_RANGE and costs no call."""
    request = v1.SearchImagesRequest(image=IMAGE, skip=1000)
    failure = failure_of(lambda: stub.SearchImages(request))
    details = details_of(failure)
    assert (C.OUT_OF_RANGE, "RESULT_WINDOW_EXCEEDED") == (
        failure.code(),
        details["ErrorInfo"].reason,
    )
    assert [] == upstream.received


def test_more_calls_than_the_quota(facade: FacadeFactory, upstream: FakeUpstream) -> None:
    """A call whose slot comes after its deadline is refused at once, with the time to wait."""
    stub = facade({"quota_qps": 0.5})
    stub.SearchImages(SEARCH)
    failure = failure_of(lambda: stub.SearchImages(SEARCH, timeout=1))
    check(failure, Row(C.RESOURCE_EXHAUSTED, R.RATE_LIMITED, True))
    delay = v1.retry_delay_of(failure)
    assert delay is not None
    assert 1.0 < delay <= 1 / (0.5 * 0.95)
    assert 1 == len(upstream.calls)


def test_a_caller_who_left_costs_no_call(facade: FacadeFactory, upstream: FakeUpstream) -> None:
    """A call that was cancelled while it waited for its slot is not sent on."""
    stub = facade({"quota_qps": 1})
    stub.SearchImages(SEARCH)
    waiting = stub.SearchImages.future(v1.SearchImagesRequest(image=IMAGE, page_size=1))
    time.sleep(0.2)
    waiting.cancel()
    stub.SearchImages(v1.SearchImagesRequest(image=IMAGE, page_size=2))
    assert [b"rn=300", b"rn=2"] == [call.body.rpartition(b"&")[2] for call in upstream.calls]


def test_more_calls_than_a_replica_holds(
    facade: FacadeFactory, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls over the bound are refused at once with SERVER_OVERLOADED."""
    monkeypatch.setattr("productsearch_service.limits.RPCS_IN_FLIGHT_MAX", 3)  # two a caller
    stub = facade()
    slow = Fault(seconds=1.5, body=b'{"log_id": 1, "result": []}')
    upstream.always("search", slow)
    requests = [v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(n))) for n in range(3)]
    running = [stub.SearchImages.future(request) for request in requests[:2]]
    while len(upstream.calls) < 2:
        time.sleep(0.01)
    failure = failure_of(lambda: stub.SearchImages(requests[2]))
    check(failure, Row(C.RESOURCE_EXHAUSTED, R.SERVER_OVERLOADED, True))
    assert [0, 0] == [len(call.result().results) for call in running]


def test_a_deadline_too_short_for_a_call(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """With less than 100 ms left no call is begun; the caller reads its own deadline's end."""
    stub.SearchImages(SEARCH)
    failure = failure_of(lambda: stub.DeleteImage(DELETE, timeout=0.09))
    assert C.DEADLINE_EXCEEDED == failure.code()
    assert ["search"] == [call.method for call in upstream.calls]
    if v1.status_of(failure) is not None:  # else gRPC's own clock was faster than the answer
        check(failure, Row(C.DEADLINE_EXCEEDED, R.DEADLINE_TOO_SHORT))


POLICY = """
[callers.reader]
token_sha256 = ["{reader}"]
[[rules]]
callers = ["reader"]
libraries = ["default"]
methods = ["SearchImages"]
"""


@pytest.fixture
def guarded(facade: FacadeFactory, tmp_path: Any) -> v1.ProductSearchStub:
    """Return a stub of a facade whose policy lets `reader` search and nothing else."""
    import hashlib

    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.format(reader=hashlib.sha256(b"the-token").hexdigest()))
    return facade(policy_file=policy)


def test_a_caller_who_is_not_known(guarded: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """No token, another scheme or a wrong token: UNAUTHENTICATED, no call made."""
    for metadata in ((), (("authorization", "Basic x"),), (("authorization", "Bearer nope"),)):
        failure = failure_of(lambda m=metadata: guarded.SearchImages(SEARCH, metadata=m))
        check(failure, Row(C.UNAUTHENTICATED, R.CALLER_UNAUTHENTICATED))
    assert [] == upstream.received


def test_a_caller_who_may_not(guarded: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """What no rule allows is PERMISSION_DENIED, unary and bulk; what one allows works."""
    metadata = (("authorization", "Bearer the-token"),)
    row = Row(C.PERMISSION_DENIED, R.CALLER_FORBIDDEN)
    check(failure_of(lambda: guarded.DeleteImage(DELETE, metadata=metadata)), row)
    other = v1.SearchImagesRequest(image=IMAGE, library="other")
    check(failure_of(lambda: guarded.SearchImages(other, metadata=metadata)), row)
    item = v1.BulkAddImagesRequest.Item(key="k", new_image=ADD.new_image)
    bulk = [v1.BulkAddImagesRequest(item=item)]
    stream = lambda: list(guarded.BulkAddImages(iter(bulk), metadata=metadata))  # noqa: E731
    check(failure_of(stream), row)
    assert [] == upstream.received
    assert 1 == len(guarded.SearchImages(SEARCH, metadata=metadata).results)


def test_a_fault_of_the_service_says_nothing_of_its_cause(
    stub: v1.ProductSearchStub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An unforeseen exception is SERVER_FAULT with a fixed sentence; the log has the cause."""

    def broken(*_: Any) -> None:
        raise RuntimeError("the cause")

    monkeypatch.setattr("productsearch_service.rpc.validation.urlsplit", broken)
    image = v1.ImageSource(url="http://shop.example/1.jpg")
    new_image = v1.NewImage(image=image, brief="b")
    item = v1.BulkAddImagesRequest.Item(key="k", new_image=new_image)
    row = Row(C.INTERNAL, R.SERVER_FAULT)
    for number, call in enumerate(
        (
            lambda: stub.AddImage(v1.AddImageRequest(new_image=new_image)),
            lambda: stub.SearchImages(v1.SearchImagesRequest(image=image)),
            lambda: stub.UpdateImage(
                v1.UpdateImageRequest(image_ref=v1.ImageRef(image=image), brief="b")
            ),
            lambda: stub.DeleteImage(v1.DeleteImageRequest(image_ref=v1.ImageRef(image=image))),
        ),
        start=1,
    ):
        failure = failure_of(call)
        check(failure, row)
        assert "the cause" not in str(failure)
        assert number == caplog.text.count("RuntimeError: the cause")
    result, _ = stub.BulkAddImages(iter([v1.BulkAddImagesRequest(item=item)]))
    assert R.SERVER_FAULT == v1.reason_of(result.result.error)
    assert "the cause" not in str(result)
    assert 5 == caplog.text.count("RuntimeError: the cause")
