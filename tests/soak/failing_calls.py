"""The calls whose failing is listened to: over gRPC, and within the service's process.

Knows which calls there are, not why they fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc

from productsearch import v1
from productsearch_service.calls import Add, Ask, Delete, Picture, Search, Update
from productsearch_service.libraries import Library
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.token import TokenSource
from tests.pictures import jpeg
from tests.soak.ears import Ears

_Try = Callable[[Library, TokenIssuer, Ask], object]
CALLS: Final[tuple[_Try, ...]] = (
    lambda library, _, ask: library.add(
        Add(_PICTURE, "b"), v1.DuplicatePolicy.DUPLICATE_POLICY_REJECT, ask
    ),
    lambda library, _, ask: library.search(Search(_PICTURE, 0, 5), b"m", ask),
    lambda library, _, ask: library.update(Update("1,2", "b"), ask),
    lambda library, _, ask: library.delete(Delete("1,2"), False, ask),
)
TOKEN_TRIES: Final[tuple[_Try, ...]] = (
    *CALLS[:2],
    lambda _, issuer, ask: TokenSource(issuer).get(ask.deadline),
    lambda _, issuer, _ask: issuer(),
)
_PICTURE: Final = Picture(content=b"\xff\xd8 a picture that nobody looks at")
_IMAGE: Final = v1.ImageSource(content=jpeg(1, 300, 300))
_REQUESTS: Final[tuple[tuple[str, Any], ...]] = (
    ("AddImage", v1.AddImageRequest(new_image=v1.NewImage(image=_IMAGE, brief="b"))),
    ("SearchImages", v1.SearchImagesRequest(image=_IMAGE)),
    ("UpdateImage", v1.UpdateImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"), brief="b")),
    ("DeleteImage", v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"))),
    ("BatchDeleteImages", v1.BatchDeleteImagesRequest(cont_signs=["1,2", "3,4"])),
    ("BulkAddImages", v1.NewImage(image=_IMAGE, brief="b")),
)


def call_and_hear(stub: v1.ProductSearchStub, number: int, library: str, ears: Ears) -> str:
    """Make one RPC that fails and hear all that the caller gets; return what came of it."""
    method, request = _REQUESTS[number % len(_REQUESTS)]
    where = f"{method}, library {library}"
    try:
        if method == "BulkAddImages":
            answers = [*stub.BulkAddImages(_bulk(library, request))]
            ears.status(where, [str(answer) for answer in answers], "", "")
            return "failed" if answers[-1].summary.failed_count else "succeeded"
        mine = type(request)(library=library)
        mine.MergeFrom(request)
        answer = getattr(stub, method)(mine)
        ears.status(where, str(answer), "", "")
        return "failed" if getattr(answer, "failed_count", 0) else "succeeded"
    except grpc.RpcError as error:
        call: Any = error
        ears.status(where, call.code(), call.details(), call.trailing_metadata())
        ears.status(where, str(error), v1.status_of(error), call.initial_metadata())
        return "failed"


def _bulk(library: str, new_image: v1.NewImage) -> Iterator[v1.BulkAddImagesRequest]:
    yield v1.BulkAddImagesRequest(settings=v1.BulkAddImagesRequest.Settings(library=library))
    item = v1.BulkAddImagesRequest.Item(key="k", new_image=new_image)
    yield v1.BulkAddImagesRequest(item=item)
