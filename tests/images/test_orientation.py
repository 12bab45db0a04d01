"""`fit` turns by the EXIF orientation alone, as browsers and the engine do."""

from __future__ import annotations

import io

import pytest
from PIL import Image, PngImagePlugin

from productsearch_service import limits
from productsearch_service.images import fit
from tests.pictures import draw, encode

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    "</rdf:RDF></x:xmpmeta>"
)
TOO_LARGE = (5_000, 2_500)


@pytest.mark.parametrize("size", [(400, 320), TOO_LARGE], ids=["within the limits", "too large"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_an_orientation_beside_exif_turns_nothing(kind: str, size: tuple[int, int]) -> None:
    """What a program wrote as XMP: viewers show the image as it is stored."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP)
    beside = {"pnginfo": text} if kind == "PNG" else {"xmp": XMP.encode()}
    content = encode(draw(1).resize(size), kind, **beside)
    fitted = fit.fit(content, limits.FIT_LARGE_MEMORY_BYTES)
    with Image.open(io.BytesIO(fitted or content)) as image:
        assert image.width > image.height
