"""Files of phones and browsers: brought inside the limits, or refused with the rule and value."""

from __future__ import annotations

import io
import re
import threading
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database.pool import open_pool
from productsearch_engine.images.fit import fit
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.limits import FITTED_BYTES_MAX, FITTED_SIDE_PX_MAX, SIDE_PX_MIN
from tests.console.conftest import Shop, made_shop
from tests.console.person import signs_of
from tests.engine.image_files import draw, encoded, jpeg, png_claiming

STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright image is turned to be stored with an EXIF orientation."""


def tiff_of(width: int, height: int) -> bytes:
    """Return a TIFF of one colour, whose many pixels take few bytes."""
    image = Image.new("RGB", (width, height))
    return encoded(image, "TIFF", compression="tiff_adobe_deflate")


@lru_cache
def photo(width: int = 4032, height: int = 3024) -> bytes:
    """Return a JPEG with a phone's sides and its noise: megabytes of it."""
    noise = np.random.default_rng(1).integers(0, 64, (height, width, 1), dtype=np.uint8)
    pixels = np.asarray(draw(1, (width, height))) // 2 + noise
    return encoded(Image.fromarray(pixels), quality=93)


def added(shop: Shop, name: str, content: bytes) -> str:
    """Add a file as the page does and return what is told of it."""
    files = {"image": (name, content)}
    page = shop.editor.send("/console/add", {"brief": "b"}, files=files)
    assert 200 == page.status_code
    return " ".join(re.findall(r'class="told">([^<]*)', page.text))


def test_a_photo_of_a_phone(shop: Shop) -> None:
    """It is added, found by itself, and known when it comes again; no call would take it."""
    content = photo()
    assert len(content) > 3 << 20
    assert 216202 == shop.caller.call("add", image=content, brief="b")["error_code"]
    assert "Added, scaled down." == added(shop, "IMG_1.jpg", content).strip()
    assert "has this image already" in added(shop, "IMG_1 (2).jpg", content)
    (sign,) = signs_of(shop.editor.get("/console/"))
    found = shop.editor.send("/console/search", files={"image": ("a.jpg", content)})
    results = shop.editor.get(found.headers["location"])
    assert [sign] == signs_of(results)
    assert "same image" in results.text


def test_other_formats(shop: Shop) -> None:
    """What browsers and chats save is added, whatever its name says."""
    pillow_heif.register_heif_opener()
    kinds = ("WEBP", "AVIF", "GIF", "TIFF", "HEIF")
    for seed, kind in enumerate(kinds):
        content = encoded(draw(seed), kind)
        assert "Added" in added(shop, "shop.jpg", content), kind
    assert len(kinds) == len(signs_of(shop.editor.get("/console/")))


def test_names_of_files(shop: Shop) -> None:
    """What browsers escape in a name is shown and taken over as the person wrote it."""
    files = {"image": ('12" vase 100%.jpg', jpeg(1))}
    page = shop.editor.send("/console/add", {"brief": "{name}"}, files=files)
    assert 'class="title">12&#34; vase 100%.jpg<' in page.text
    assert "12&#34; vase 100%</span>" in shop.editor.get("/console/").text


def test_what_is_accepted_stays(shop: Shop) -> None:
    """A file that a call takes is the same image here, byte by byte."""
    assert "Added." == added(shop, "a.jpg", jpeg(1)).strip()
    (sign,) = signs_of(shop.editor.get("/console/"))
    assert sign == shop.caller.call("add", image=jpeg(1), brief="b")["cont_sign"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.png", encoded(draw(1, (299, 800)), "PNG"), "299 by 800 px. Each side has to have 300"),
        ("a.webp", encoded(draw(1, (320, 20)), "WEBP"), "320 by 20 px"),
        ("a.png", encoded(draw(1, (5000, 320)), "PNG"), "5000 by 320 px. Its longer side"),
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(200), "HEIC, GIF or TIFF, or the file is damaged"),
        ("a.tif", encoded(draw(1), "TIFF")[:90_000], "or the file is damaged"),
        ("a.tif", encoded(draw(1).convert("F"), "TIFF"), "Save other formats"),
        ("a.tif", tiff_of(16_000, 10_000), "too many pixels"),
        ("a.pdf", b"%PDF-1.7", "This is no JPEG"),
        ("a.jpg", photo()[:-200_000], "or the file is damaged"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "This is no JPEG"),
        ("a.png", png_claiming(30_000, 30_000), "too many pixels"),
        ("a.jpg", b"", "The file is empty."),
    ],
)
def test_refusals(shared_shop: Shop, name: str, content: bytes, told: str) -> None:
    """Each names the rule that was broken, and the value, beside the file and the field."""
    assert told in added(shared_shop, name, content)
    files = {"image": (name, content)}
    page = shared_shop.editor.send("/console/search", files=files)
    assert page.status_code in (400, 413)
    why = re.findall(r'id="why-image" role="alert">([^<]*)', page.text)
    assert told in why[0]


@pytest.mark.parametrize("size", [(4200, 3150), (3150, 4200), (9000, 900), (2100, 2100)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_fitted_file_is_accepted(size: tuple[int, int], orientation: int) -> None:
    """Its sides and bytes are inside the limits, it is upright, and always the same."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(draw(2, size), quality=90, exif=exif.tobytes())
    fitted, sides = fit(content)
    assert size == sides
    assert fitted == fit(content)[0]
    assert len(fitted) <= FITTED_BYTES_MAX
    found = ImageFile.checked(fitted).structure
    width, height = size if orientation == 1 else size[::-1]
    assert abs(found.width / found.height - width / height) < 0.02
    narrow = max(size) * SIDE_PX_MIN > FITTED_SIDE_PX_MAX * min(size)
    assert narrow or max(found.width, found.height) == min(FITTED_SIDE_PX_MAX, max(size))
    with Image.open(io.BytesIO(fitted)) as image:
        assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("kind", ["TIFF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_file_is_seen_upright(kind: str, orientation: int) -> None:
    """The decoders of these turn it themselves: it is turned once."""
    pillow_heif.register_heif_opener()
    exif, shown = Image.Exif(), draw(2, (640, 480))
    exif[0x0112] = orientation
    stored = shown.transpose(STORED[orientation]) if orientation > 1 else shown
    fitted, _ = fit(encoded(stored, kind, exif=exif.tobytes()))
    with Image.open(io.BytesIO(fitted)) as image:
        assert shown.size == image.size
        difference = np.abs(np.asarray(image, int) - np.asarray(shown, int))
    assert difference.mean() < 6


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_a_tiff_of_any_colours(mode: str) -> None:
    """Scanners and printers write these; of several pages the first one counts."""
    shown = draw(2, (640, 480))
    grey = np.asarray(shown.convert("L"), dtype=np.uint16)
    page = Image.fromarray(grey << 8) if mode == "I;16" else shown.convert(mode)
    content = encoded(page, "TIFF", save_all=True, append_images=[draw(3)])
    fitted, sides = fit(content)
    assert shown.size == sides
    with Image.open(io.BytesIO(fitted)) as image:
        difference = np.asarray(image.convert("L"), int) - np.asarray(shown.convert("L"), int)
    # Few colours are a pattern of dots: their mean is right.
    assert (abs(difference.mean()) if mode in ("1", "P") else np.abs(difference).mean()) < 8


def test_noise_is_brought_down() -> None:
    """Whatever the pixels, the file is small enough for a worker process to say."""
    noise = np.random.default_rng(3).integers(0, 256, (2060, 1500, 3), dtype=np.uint8)
    fitted, _ = fit(encoded(Image.fromarray(noise), "PNG"))
    assert len(fitted) <= FITTED_BYTES_MAX
    ImageFile.checked(fitted)


def test_an_address_takes_what_a_file_does(open_engine: Engine) -> None:
    """What a host has is made anew as a file is: WebP, large ones; what is no image is told."""
    served = {
        "/webp": encoded(draw(1), "WEBP"),
        "/large": encoded(draw(1, (4400, 400))),
        "/jpeg": jpeg(1),
        "/text": b"<html>",
    }

    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(served[self.path])))
            self.end_headers()
            self.wfile.write(served[self.path])

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Host) as server,
        open_pool(settings.load({}, {"data": str(open_engine.data)}), 1) as pool,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shop = made_shop(open_engine, pool)
        sign = shop.add(jpeg(1))
        for path in ("/webp", "/large", "/jpeg"):
            url = f"http://127.0.0.1:{server.server_address[1]}{path}"
            found = shop.looker.send("/console/search", {"url": url})
            assert 303 == found.status_code, path
            assert [sign] == signs_of(shop.looker.get(found.headers["location"]))
        url = f"http://127.0.0.1:{server.server_address[1]}/text"
        refused = shop.looker.send("/console/search", {"url": url})
        assert (400, True) == (refused.status_code, 'id="why-url"' in refused.text)
        assert "WebP" in refused.text
        shop.close()
        server.shutdown()
