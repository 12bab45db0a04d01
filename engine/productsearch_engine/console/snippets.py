"""The search of a page as a call to copy: gRPC by grpcurl, Python, Go, Java and curl.

Knows the REST contract and the clients; the calls themselves are in ``templates/calls``. A secret
is never in one: the reader puts in their own.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from productsearch_engine.embedding.interface import Box
from productsearch_engine.limits import CONSOLE_PAGE
from productsearch_engine.store.statements import ClassFilter

TARGET = "127.0.0.1:50051"
"""Where the service of ``make run`` listens; an engine does not know where others do."""

_PATH = "/rest/2.0/image-classify/v1/realtime_search/product/search"
_SIDES = ("left", "top", "width", "height")
_NAMES: Mapping[str, str] = {
    "gRPC": "grpcurl",
    "Python": "python",
    "Go": "go",
    "Java": "java",
    "curl": "curl",
}

# What is rendered is text: the page escapes it.
_templates = Environment(
    loader=PackageLoader("productsearch_engine.console", "templates/calls"),
    autoescape=False,  # noqa: S701
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=False,
)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a page searches with; without ``url`` the reader's own file stands for the image."""

    url: str = ""
    classes: ClassFilter
    least: float = 0.0
    region: Box | None = None


def of(base_url: str, search: Search) -> dict[str, str]:
    """Return the texts by what is shown above them."""
    numbers = {"class_id1": search.classes.class_id1, "class_id2": search.classes.class_id2}
    classes = {name: number for name, number in numbers.items() if number is not None}
    either = len(classes) == 2 and search.classes.any_class
    sides = [] if search.region is None else [f"{each:.4g}" for each in search.region]
    # A line end in a string would be the end of a line of code.
    url = search.url if search.url.isprintable() else ""
    values = {
        "base_url": base_url,
        "path": _PATH,
        "target": TARGET,
        "count": CONSOLE_PAGE,
        "url": url,
        "classes": classes,
        "either": either,
        "least": f"{search.least:g}" if search.least else "",
        "region": dict(zip(_SIDES, sides, strict=bool(sides))),
        "quoted": shlex.quote,
        "string": lambda text: json.dumps(text, ensure_ascii=False),
        "request": _json(classes, search, url, either=either),
    }
    return {name: _templates.get_template(file).render(values) for name, file in _NAMES.items()}


def _json(classes: Mapping[str, int], search: Search, url: str, *, either: bool) -> str:
    """Return the request of the gRPC call; for a file ``&`` stands for its content."""
    fields: dict[str, object] = {
        "image": {"url": url} if url else {"content": "&", "fit": True},
        "page_size": CONSOLE_PAGE,
    }
    if classes:
        fields["class_filter"] = {**classes, **({"operator": "OPERATOR_OR"} if either else {})}
    if search.least:
        fields["min_score"] = search.least
    if search.region is not None:
        rounded = [float(f"{each:.4g}") for each in search.region]
        fields["region"] = dict(zip(_SIDES, rounded, strict=True))
    return json.dumps(fields, ensure_ascii=False)
