"""Reads cases.json and fills it in: images, signatures, items, a case for each upstream code.

What a runner needs of a case goes into its plan; what the matrix alone knows (expectations,
calls counted at the servers) stays in the Case.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.pictures import draw, encode, jpeg, noise_jpeg

_FILE = Path(__file__).with_name("cases.json")
_PLANNED = (
    *("name", "kind", "target", "method", "request", "timeout_s", "settings", "items", "after"),
    *("then", "then_target", "seconds", "interval_s"),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case: ``plan`` is the runner's part, the rest is what the matrix checks."""

    name: str
    plan: dict[str, Any] = field(repr=False)
    expect: dict[str, Any]
    varies: tuple[str, ...] = ()
    """Members of the outcome that may differ between languages."""
    counts: dict[str, int] = field(default_factory=dict)
    """Members of the outcome and how many entries each must have."""
    upstream_calls: int | None = None
    """Calls that the case's library makes at the fake upstream."""
    attempts: int | None = None
    """Calls that the flaky server gets for the case's library."""

    @property
    def kind(self) -> str:
        """The kind, as in the README."""
        return str(self.plan["kind"])

    @property
    def library(self) -> str:
        """The library that the case's request or settings name."""
        asked = self.plan.get("request") or self.plan.get("settings") or {}
        return str(asked.get("library", ""))


def read_cases() -> list[Case]:
    """Return all cases, in the order in which they run."""
    written = json.loads(_FILE.read_text("utf-8"))
    images = {name: _draw(**how) for name, how in written["images"].items()}
    return [
        _case(filled)
        for raw in (*written["cases"], *_upstream_codes(written["upstream_codes"]))
        for filled in [_fill(raw, images)]
    ]


def _case(filled: dict[str, Any]) -> Case:
    beside = ("expect", "counts", "upstream_calls", "attempts")
    return Case(
        name=filled["name"],
        plan={key: filled[key] for key in _PLANNED if key in filled},
        varies=tuple(filled.get("varies", ())),
        **{key: filled[key] for key in beside if key in filled},
    )


def _upstream_codes(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a search for each code of the upstream; library ``code-N`` answers with code N."""
    for row in rows:
        for code in row["codes"]:
            said = {"response": None, "upstream_code": code, "log_id": str(2**64 - 1)}
            yield {
                "name": f"upstream_code_{code}",
                "kind": "unary",
                "target": "fake",
                "method": "SearchImages",
                "request": {"library": f"code-{code}", "image": {"content": "@image:apple"}},
                "expect": {"cont_sign": None} | said | row["expect"],
                "upstream_calls": row["upstream_calls"],
            }


def _draw(
    seed: int = 0,
    width: int = 320,
    height: int = 320,
    format: str = "JPEG",
    bytes: int = 0,
    bytes_as_they_are: str = "",
) -> bytes:
    if bytes_as_they_are:
        return bytes_as_they_are.encode()
    if bytes:
        return noise_jpeg(bytes, seed)[:bytes]
    if format != "JPEG":
        return encode(draw(seed, width, height), format)
    return jpeg(seed, width, height)


def _fill(value: Any, images: dict[str, bytes]) -> Any:
    """Return ``value`` with its placeholders filled in."""
    if isinstance(value, dict):
        if "count" in value and "image" in value:
            return [*_items(images=images, **value)]
        return {key: _fill(member, images) for key, member in value.items()}
    if isinstance(value, list):
        return [_fill(member, images) for member in value]
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "@image":
        return base64.b64encode(images[name]).decode()
    if kind == "@sha256":
        return hashlib.sha256(images[name]).hexdigest()
    if kind == "@sign":  # the engine makes it from the image
        return "{},{}".format(*struct.unpack_from(">II", hashlib.sha256(images[name]).digest()))
    return value


def _items(
    *,
    count: int,
    image: str,
    brief: str,
    images: dict[str, bytes],
    every: list[dict[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield ``count`` items; each of ``every`` changes the ones at ``at`` in ``of``."""
    for number in range(count):
        item = {"image": image, "brief": brief}
        for change in every or ():
            if number % change["of"] == change["at"]:
                item |= {key: change[key] for key in ("image", "brief") if key in change}
        content = base64.b64encode(images[item["image"]]).decode()
        new_image = {"image": {"content": content}, "brief": item["brief"].format(number)}
        yield {"key": f"item {number}", "newImage": new_image}
