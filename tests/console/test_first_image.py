"""What the first image of a page waits for: counts, which a busy machine does not change.

The times are measured in a browser (``tests.console.first_image``).
"""

from __future__ import annotations

import re

from productsearch_engine.console import assets
from tests.console.conftest import Shop
from tests.engine.image_files import jpeg


def test_a_page_waits_for_its_style_alone(shop: Shop) -> None:
    """The first row is in the page, asked for at once; no script comes before it."""
    known = {shop.add(jpeg(n)) for n in range(10)}
    page = shop.editor.get("/console/").text
    head, _, body = page.partition("<body>")
    assert 1 == len(re.findall(r'<link rel="stylesheet"', head))
    for script in re.findall(r"<script[^>]*>", page):
        assert script.endswith(" defer>")
    images = re.findall(r'<img src="/console/thumbnails/([0-9,]+)\.webp"([^>]*)>', body)
    assert known == {sign for sign, _ in images}
    assert 8 == sum('fetchpriority="high"' in rest for _, rest in images)
    assert 2 == sum('loading="lazy"' in rest for _, rest in images)


def test_styles_and_scripts_come_compressed(shared_shop: Shop) -> None:
    """Who takes gzip gets less than half of the bytes, who does not the file itself."""
    for name in ("console.css", "console.js", "uplot.css", "uplot.js"):
        answers = {
            kind: shared_shop.looker.get(
                assets.address(name), headers={"Accept-Encoding": kind}, stream=True
            )
            for kind in ("gzip, br", "identity")
        }
        sizes = {kind: len(each.raw.read()) for kind, each in answers.items()}
        assert "gzip" == answers["gzip, br"].headers["content-encoding"]
        assert "content-encoding" not in answers["identity"].headers
        assert 2 * sizes["gzip, br"] < sizes["identity"]
        assert all("Accept-Encoding" == each.headers["vary"] for each in answers.values())
