"""Deletes rows of a journal, and from the library the images that only they account for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from productsearch.cli.calls import patiently
from productsearch.cli.deletes import delete_signs
from productsearch.cli.failures import Failure
from productsearch.cli.journal import DONE
from productsearch.v1 import UpdateImageRequest, ref_by_sign

if TYPE_CHECKING:
    from collections.abc import Iterable

    from productsearch.cli.journal import Journal, Row
    from productsearch.v1 import ProductSearchStub

_UPDATE_TIMEOUT_S: Final = 60.0


@dataclass
class Sorted:
    """Rows to forget, by signature, and by what becomes of the image."""

    deleted: dict[str, list[Row]] = field(default_factory=dict)
    shared: dict[str, list[Row]] = field(default_factory=dict)
    """Another entry of the journal has the image: it stays."""
    not_ours: dict[str, list[Row]] = field(default_factory=dict)
    """The image was in the library before this source had it: it stays."""


@dataclass
class Forgotten:
    """How many rows are forgotten, by what became of the image; what could not be done."""

    deleted: int = 0
    shared: int = 0
    not_ours: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Rows that are forgotten."""
        return self.deleted + self.shared + self.not_ours


def sort(journal: Journal, rows: Iterable[Row], *, also_kept: bool = False) -> Sorted:
    """Return what forgetting the rows does. ``also_kept``: delete what was there before, too."""
    unique = {(row.key, row.digest): row for row in rows}
    by_sign: dict[str, list[Row]] = {}
    for row in unique.values():
        by_sign.setdefault(row.cont_sign, []).append(row)
    found = Sorted()
    for sign, own in by_sign.items():
        others = {(row.key, row.digest) for row in journal.users_of(sign)} - {*unique}
        ours = also_kept or any(row.ours for row in own)
        kind = found.shared if others else found.deleted if ours else found.not_ours
        kind[sign] = own
    return found


def forget(
    stub: ProductSearchStub, journal: Journal, rows: Iterable[Row], *, also_kept: bool = False
) -> Forgotten:
    """Forget the rows; the library is asked first, and a row is forgotten when that is done.

    Raises Failure.
    """
    what = sort(journal, rows, also_kept=also_kept)
    done = Forgotten()
    for own in what.not_ours.values():
        journal.forget(own)
        done.not_ours += len(own)
    for sign, own in what.shared.items():
        try:
            _hand_over(stub, journal, sign, own)
        except Failure as failure:
            done.failures.append(failure)
            continue
        journal.forget(own)
        done.shared += len(own)
    for sign, failed in delete_signs(stub, journal.library, what.deleted, allow_missing=True):
        if failed is not None:
            done.failures.append(failed)
            continue
        journal.forget(what.deleted[sign])
        done.deleted += len(what.deleted[sign])
    return done


def _hand_over(stub: ProductSearchStub, journal: Journal, sign: str, own: list[Row]) -> None:
    """Give the image the brief of a row that remains, if it has that of one that goes."""
    going = {(row.key, row.digest) for row in own}
    remaining = [row for row in journal.users_of(sign) if (row.key, row.digest) not in going]
    heir = next((row for row in remaining if row.state == DONE), None)
    if heir is None or not any(row.is_stored_as_told for row in own):
        return
    told = {"class_id1": heir.class_id1, "class_id2": heir.class_id2}
    classes: dict[str, Any] = {name: int(text) for name, text in told.items() if text}
    request = UpdateImageRequest(
        library=journal.library,
        image_ref=ref_by_sign(sign),
        brief=heir.brief,
        **classes,
    )
    try:
        patiently(stub.UpdateImage, request, _UPDATE_TIMEOUT_S, heir.key)
    except Failure as failure:
        if failure.reason != "IMAGE_NOT_FOUND":
            raise
        journal.forget(remaining)  # somebody deleted it
    else:
        journal.write([replace(heir, outcome="updated")])
