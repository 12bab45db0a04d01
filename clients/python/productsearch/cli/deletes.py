"""Deletes stored images: signatures in batches, images one by one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from productsearch.cli.calls import patiently
from productsearch.cli.failures import Failure
from productsearch.cli.images_given import is_sign, reference_given
from productsearch.cli.rpc_failures import failure_of
from productsearch.v1 import BatchDeleteImagesRequest, DeleteImageRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from productsearch.v1 import ProductSearchStub

_BATCH: Final = 1000
_BATCH_TIMEOUT_S: Final = 300.0


def delete_signs(
    stub: ProductSearchStub, library: str, signs: Iterable[str], *, allow_missing: bool
) -> Iterator[tuple[str, Failure | None]]:
    """Yield each signature with what it failed with; None: deleted. Raises Failure."""
    remaining = iter(signs)
    while batch := [*itertools.islice(remaining, _BATCH)]:
        request = BatchDeleteImagesRequest(
            library=library, cont_signs=batch, allow_missing=allow_missing
        )
        answer = patiently(stub.BatchDeleteImages, request, _BATCH_TIMEOUT_S, "delete")
        for result in answer.results:
            failed = result.HasField("error")
            yield result.cont_sign, (failure_of(result.error, result.cont_sign) if failed else None)


def delete_all(
    stub: ProductSearchStub,
    library: str,
    names: Sequence[str],
    *,
    allow_missing: bool,
    fit: bool,
    timeout_s: float,
) -> Iterator[tuple[str, Failure | None]]:
    """Yield each name, in their order, with what it failed with; None: deleted. Raises Failure."""
    for signs, run in itertools.groupby(names, is_sign):
        if signs:
            yield from delete_signs(stub, library, run, allow_missing=allow_missing)
        else:
            for name in run:
                yield name, _failure(stub, library, name, allow_missing, fit, timeout_s)


def _failure(
    stub: ProductSearchStub,
    library: str,
    name: str,
    allow_missing: bool,
    fit: bool,
    timeout_s: float,
) -> Failure | None:
    """Return what deleting one image fails with; None: deleted."""
    try:
        request = DeleteImageRequest(
            library=library,
            image_ref=reference_given(name, fit=fit),
            allow_missing=allow_missing,
        )
        patiently(stub.DeleteImage, request, timeout_s, name)
    except Failure as failure:
        return failure
    return None
