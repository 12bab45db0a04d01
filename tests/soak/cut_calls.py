"""The RPCs whose connection breaks: how each is called, and what its caller was told.

Knows nothing of how connections break.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

from productsearch import v1
from productsearch.v1.errors import Failure
from tests.fakes.cutting import FOUND, sign_of
from tests.pictures import numbered_jpeg
from tests.soak.cut_stage import Stage

_ITEM_KEY: Final = "k"


@dataclass(frozen=True)
class Told:
    """What the caller was told of one sign; ``true``: whether an OK's own content is right."""

    sign: str
    failure: Failure | None = None
    true: bool = True


Play = Callable[[Stage, float], list[Told]]


@dataclass(frozen=True)
class Rpc:
    """An RPC, the upstream's method behind it, and how to call it within some seconds."""

    name: str
    method: str
    play: Play


def _item(image: bytes) -> v1.NewImage:
    return v1.NewImage(image=v1.ImageSource(content=image), brief="b")


def add_fresh(stage: Stage, patience_s: float) -> list[Told]:
    """Add the image that is not there yet."""
    request = v1.AddImageRequest(library=stage.library, new_image=_item(stage.fresh))
    reply = stage.stub.AddImage(request, timeout=patience_s)
    return [Told(sign_of(stage.fresh), true=_is_added(reply, stage))]


def bulk_add_fresh(stage: Stage, patience_s: float) -> list[Told]:
    """Add it as the only item of a stream."""
    part = v1.BulkAddImagesRequest
    parts = [
        part(settings=part.Settings(library=stage.library)),
        part(item=part.Item(key=_ITEM_KEY, new_image=_item(stage.fresh))),
    ]
    first, last = stage.stub.BulkAddImages(iter(parts), timeout=patience_s)
    result, sign = first.result, sign_of(stage.fresh)
    if result.HasField("error"):
        return [Told(sign, result.error, last.summary.failed_count == 1)]
    true = _is_added(result.added, stage) and last.summary.added_count == 1
    return [Told(sign, true=true and result.key == _ITEM_KEY)]


def _is_added(reply: v1.AddImageResponse, stage: Stage) -> bool:
    created = v1.AddOutcome.ADD_OUTCOME_CREATED
    return reply.outcome == created and reply.cont_sign == sign_of(stage.fresh)


def search_once(stage: Stage, patience_s: float) -> list[Told]:
    """Search with some image."""
    image = v1.ImageSource(content=numbered_jpeg(1))
    request = v1.SearchImagesRequest(library=stage.library, image=image)
    results = stage.stub.SearchImages(request, timeout=patience_s).results
    signs = [result.cont_sign for result in results]
    return [Told("", true=signs == [FOUND["cont_sign"]])]


def _update(stage: Stage, patience_s: float) -> list[Told]:
    sign = stage.stored[0]
    request = v1.UpdateImageRequest(library=stage.library, brief="new", image_ref=_ref(sign))
    stage.stub.UpdateImage(request, timeout=patience_s)
    return [Told(sign, true=stage.upstream.stored[sign] == "new")]


def _delete(stage: Stage, patience_s: float) -> list[Told]:
    sign = stage.stored[0]
    request = v1.DeleteImageRequest(library=stage.library, image_ref=_ref(sign))
    stage.stub.DeleteImage(request, timeout=patience_s)
    return [Told(sign, true=sign not in stage.upstream.stored)]


def _delete_both(stage: Stage, patience_s: float) -> list[Told]:
    request = v1.BatchDeleteImagesRequest(library=stage.library, cont_signs=stage.stored)
    reply = stage.stub.BatchDeleteImages(request, timeout=patience_s)
    return [
        Told(result.cont_sign, result.error)
        if result.HasField("error")
        else Told(result.cont_sign, true=result.cont_sign not in stage.upstream.stored)
        for result in reply.results
    ]


def _ref(sign: str) -> v1.ImageRef:
    return v1.ImageRef(cont_sign=sign)


RPCS: Final = (
    Rpc("AddImage", "add", add_fresh),
    Rpc("SearchImages", "search", search_once),
    Rpc("UpdateImage", "update", _update),
    Rpc("DeleteImage", "delete", _delete),
    Rpc("BatchDeleteImages", "delete", _delete_both),
    Rpc("BulkAddImages", "add", bulk_add_fresh),
)
TOKEN: Final = Rpc("AddImage without a token", "token", add_fresh)
"""The library's first call: the connection that breaks is the token request's."""


def words_of(failure: Failure) -> tuple[str, str]:
    """Return the names of a failure's code and reason."""
    reason = v1.reason_of(failure)
    name = "" if reason is None else v1.ErrorReason.Name(reason)
    if isinstance(failure, grpc.RpcError):
        return failure.code().name, name
    return next(code.name for code in grpc.StatusCode if code.value[0] == failure.code), name


def is_own_deadline(failure: Failure) -> bool:
    """Whether the caller's own clock ended the call: no answer was there in time."""
    return words_of(failure) == ("DEADLINE_EXCEEDED", "")
