"""Signatures of stored images as callers write them."""

from __future__ import annotations

import re
from typing import Final

from productsearch.v1 import BatchDeleteImagesRequest
from productsearch_service.errors import FieldInvalid, Violation

WRONG: Final = "no signature; use two unsigned 32-bit numbers joined by a comma"
_SIGN: Final = re.compile(r"([0-9]{1,10}),([0-9]{1,10})", re.ASCII)
_UINT32_MAX: Final = 2**32 - 1


def batch_delete(request: BatchDeleteImagesRequest) -> list[str]:
    """Return the checked signatures that were sent, "" for each that is none."""
    if not request.cont_signs:
        raise _invalid("cont_signs", "empty; name at least one signature")
    return [checked(sign) for sign in request.cont_signs]


def no_sign(index: int) -> FieldInvalid:
    """Return the error of a signature of BatchDeleteImages that is none."""
    return _invalid(f"cont_signs[{index}]", WRONG)


def checked(sign: str) -> str:
    """Return a signature without the space around it, or "" if it is none."""
    match = _SIGN.fullmatch(sign.strip())
    if match is None or any(int(part) > _UINT32_MAX for part in match.groups()):
        return ""
    return match.group()


def _invalid(field: str, wrong: str) -> FieldInvalid:
    return FieldInvalid(f"{field}: {wrong}", violations=(Violation(field, wrong),))
