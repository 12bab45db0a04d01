"""The calls whose failing is listened to: over gRPC, and within the service's process.

Knows which calls there are, not why they fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import grpc

from productsearch import v1
from productsearch_service.call_context import CallContext
from productsearch_service.images import form_encoding
from productsearch_service.library.commands import Add, Delete, Image, Search, Update
from productsearch_service.library.library import Library
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import TokenSource
from tests.pictures import jpeg
from tests.soak.ears import Ears

_Try = Callable[[Library, TokenIssuer, CallContext], Awaitable[object]]


async def _token(issuer: TokenIssuer, context: CallContext) -> object:
    tokens = TokenSource(issuer, count=lambda _: None)
    try:
        return await tokens.get(context.deadline)
    finally:
        await tokens.close()


CALLS: Final[tuple[_Try, ...]] = (
    lambda library, _, context: library.add(Add(_IMAGE, "b"), context),
    lambda library, _, context: library.search(Search(_IMAGE, 0, 5, b"m"), context),
    lambda library, _, context: library.update(Update("1,2", "b"), context),
    lambda library, _, context: library.delete(Delete("1,2"), context),
)
TOKEN_TRIES: Final[tuple[_Try, ...]] = (
    *CALLS[:2],
    lambda _, issuer, context: _token(issuer, context),
    lambda _, issuer, _context: issuer(),
)
_IMAGE: Final = Image(form_encoding.encode(b"\xff\xd8 an image that nobody looks at"))
_SOURCE: Final = v1.ImageSource(content=jpeg(1, 300, 300))
_REQUESTS: Final[tuple[tuple[str, Any], ...]] = (
    ("AddImage", v1.AddImageRequest(new_image=v1.NewImage(image=_SOURCE, brief="b"))),
    ("SearchImages", v1.SearchImagesRequest(image=_SOURCE)),
    ("UpdateImage", v1.UpdateImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"), brief="b")),
    ("DeleteImage", v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"))),
    ("BatchDeleteImages", v1.BatchDeleteImagesRequest(cont_signs=["1,2", "3,4"])),
    ("BulkAddImages", v1.NewImage(image=_SOURCE, brief="b")),
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
