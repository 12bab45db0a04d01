"""The products of the libraries that a browser looks at."""

from __future__ import annotations

import io
import json

from PIL import Image

from demo import products
from tests.engine.calling import Caller

LONG = 84


def drawings() -> list[products.Photo]:
    """Return drawn products, some in several colours, in the order of their names."""
    found = {photo for series in products.drawn() for photo in series.stored | {*series.queries}}
    return sorted(found, key=lambda each: each.key)


def fill(caller: Caller, photos: list[products.Photo]) -> None:
    """Add products."""
    for number, photo in enumerate(photos):
        shape, colour, ground = photo.key.split("-")
        brief = json.dumps({"name": f"{colour} {shape}", "sku": f"S-{number:04}", "on": ground})
        numbers = str(photo.class_id), str(photo.group_id)
        if number % 9 == 0:
            brief = f"夏季新款 {shape} {number}"
        if number == LONG:
            brief, numbers = "Sommerschlussverkaufssonderangebot-" * 7, ("65535", "65534")
        caller.call(
            "add", image=photo.content, brief=brief, class_id1=numbers[0], class_id2=numbers[1]
        )
        if number in (40, 60, 80):
            with Image.open(io.BytesIO(photo.content)) as image:
                file = io.BytesIO()
                image.resize((image.width * 5 // 4, image.height * 5 // 4)).save(file, "PNG")
            caller.call("add", image=file.getvalue(), brief=f"{colour} {shape}, a second file")
