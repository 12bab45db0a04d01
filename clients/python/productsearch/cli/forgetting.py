"""Deletes rows of a journal, and their images from the library unless another row needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from productsearch.cli.deletes import delete_signs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from productsearch.cli.failures import Failure
    from productsearch.cli.journal import Journal, Row
    from productsearch.v1 import ProductSearchStub


def forget(
    stub: ProductSearchStub, journal: Journal, rows: Iterable[Row]
) -> tuple[int, list[tuple[str, Failure]]]:
    """Return how many rows are forgotten, and the signatures that could not be deleted.

    The library is asked first: a row is forgotten when its image is gone. Raises Failure.
    """
    unique = {(row.key, row.digest): row for row in rows}
    by_sign: dict[str, list[Row]] = {}
    for row in unique.values():
        by_sign.setdefault(row.cont_sign, []).append(row)
    shared: list[tuple[str, list[Row]]] = []
    alone: list[tuple[str, list[Row]]] = []
    for sign, own in by_sign.items():
        users = {(row.key, row.digest) for row in journal.users_of(sign)}
        (shared if users - {*unique} else alone).append((sign, own))
    forgotten = 0
    for _, own in shared:  # another entry has the same image: it stays in the library
        journal.forget(own)
        forgotten += len(own)
    failures: list[tuple[str, Failure]] = []
    signs = [sign for sign, _ in alone]
    for sign, failure in delete_signs(stub, journal.library, signs, allow_missing=True):
        if failure is not None:
            failures.append((sign, failure))
            continue
        journal.forget(by_sign[sign])
        forgotten += len(by_sign[sign])
    return forgotten, failures
