"""The search of a page as a call to copy: curl and Python.

Knows the REST contract and the client. A secret is never in it: the reader puts in their own.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from productsearch_engine.console.view import class_id
from productsearch_engine.embedding.interface import Box

_SIDES = ("left", "top", "width", "height")
_PATH = "/rest/2.0/image-classify/v1/realtime_search/product/search"


def of(base_url: str, entered: Mapping[str, str], region: Box | None = None) -> dict[str, str]:
    """Return the texts by their name."""
    numbers = {
        name: number
        for name in ("class_id1", "class_id2")
        if (number := class_id(entered[name], lenient=True)) is not None
    }
    either = len(numbers) == 2 and entered["any"] == "1"
    return {
        "curl": _curl(base_url, entered["url"], numbers, region, either=either),
        "Python": _python(entered["url"], entered["least"], numbers, region, either=either),
    }


def _curl(
    base_url: str, url: str, numbers: Mapping[str, int], region: Box | None, *, either: bool
) -> str:
    fields = [f"--data-urlencode {shlex.quote(f'url={url}')}"] if url else []
    if not url:
        fields.append('--data-urlencode "image=$(base64 -w0 photo.jpg)"')
    fields += [f"-d {name}={number}" for name, number in numbers.items()]
    if either:
        fields.append("-d tag_logic=1")
    if region is not None:
        fields.append("-d region=" + ",".join(f"{each:.4g}" for each in region))
    base = shlex.quote(base_url)
    lines = [
        f"TOKEN=$(curl -s {base}/oauth/2.0/token -d grant_type=client_credentials \\",
        '    -d client_id="$API_KEY" -d client_secret="$SECRET_KEY" | jq -r .access_token)',
        f'curl -s "{base_url}{_PATH}?access_token=$TOKEN" \\',
        *(f"    {field} \\" for field in fields[:-1]),
        f"    {fields[-1]}",
    ]
    return "\n".join(lines)


def _python(
    url: str, least: str, numbers: Mapping[str, int], region: Box | None, *, either: bool
) -> str:
    image = f"ImageSource(url={url!r})" if url else 'image_from_file("photo.jpg", fit=True)'
    fields = [f"image={image}"]
    if numbers:
        inner = [f"{name}={number}" for name, number in numbers.items()]
        if either:
            inner.append("operator=ClassFilter.OPERATOR_OR")
        fields.append(f"class_filter=ClassFilter({', '.join(inner)})")
    if least.replace(".", "", 1).isdecimal() and float(least):
        fields.append(f"min_score={float(least)}")
    if region is not None:
        sides = ", ".join(f"{name}={each:.4g}" for name, each in zip(_SIDES, region, strict=True))
        fields.append(f"region=Region({sides})")
    names = ["ImageSource"] if url else ["image_from_file"]
    names += ["ClassFilter"] if numbers else []
    names += [] if region is None else ["Region"]
    names += ["ProductSearchStub", "SearchImagesRequest", "connect"]
    lines = [
        f"from productsearch.v1 import {', '.join(sorted(names))}",
        "",
        'with connect("127.0.0.1:50051") as channel:',
        "    found = ProductSearchStub(channel).SearchImages(SearchImagesRequest(",
        *(f"        {field}," for field in fields),
        "    ))",
        "for hit in found.results:",
        '    print(f"{hit.score:.3f}", hit.cont_sign, hit.brief)',
    ]
    return "\n".join(lines)
