"""Random requests: fields set to random and to telling values, and their bytes mutated.

Knows nothing of a server.
"""

from __future__ import annotations

import random
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from productsearch import v1
from tests.pictures import draw, encode, jpeg
from tests.wire.test_answers import _mutated

_TEXTS: Final = (
    "", "default", "x", "1,2", "4294967295,0", "4294967296,1", "1,2;3,4", "http://a.example/x.jpg",
    "http://[::1", "http://a:99999/", "\0", "\ud7ff\U0010ffff", "é" * 200, "x" * 5000, "AAAA" * 9,
)  # fmt: skip
_NUMBERS: Final = (0, 1, -1, 2, 300, 1000, 1001, 65535, 65536, 2**31 - 1, -(2**31))
_FLOATS: Final = (0.0, 0.5, 1.0, -0.0, 1e-320, 1.5, float("nan"), float("inf"), -float("inf"))


def _bytes(chance: random.Random) -> bytes:
    image = jpeg(chance.randrange(3), 300, 300)
    damaged = bytearray(image)
    damaged[chance.randrange(len(damaged))] ^= 0xFF
    return chance.choice(
        [b"", chance.randbytes(40), image, image, bytes(damaged), image[:99], _small_gif()]
    )


def _small_gif() -> bytes:
    return encode(draw(2, 200, 200), "GIF")


_IMAGE: Final = v1.ImageSource(content=jpeg(1, 300, 300))
_NEW: Final = v1.NewImage(image=_IMAGE, brief="b", class_id1=3)
_GOOD: Final[dict[type[Message], Message]] = {
    v1.AddImageRequest: v1.AddImageRequest(new_image=_NEW),
    v1.SearchImagesRequest: v1.SearchImagesRequest(image=_IMAGE, page_size=5),
    v1.UpdateImageRequest: v1.UpdateImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"), brief="b"),
    v1.DeleteImageRequest: v1.DeleteImageRequest(image_ref=v1.ImageRef(image=_IMAGE)),
    v1.BatchDeleteImagesRequest: v1.BatchDeleteImagesRequest(cont_signs=["1,2", "3,4"]),
    v1.BulkAddImagesRequest: v1.BulkAddImagesRequest(
        item=v1.BulkAddImagesRequest.Item(key="k", new_image=_NEW)
    ),
}


def random_message(kind: type[Message], chance: random.Random) -> Message:
    """Return a request with some fields, or most, set to random and to telling values."""
    message = kind()
    if chance.random() < 0.5:
        message.CopyFrom(_GOOD[kind])
        return _randomized(message, chance, share=chance.choice((0.0, 0.1, 0.3)))
    return _randomized(message, chance, share=0.8)


def _randomized(message: Message, chance: random.Random, share: float) -> Message:
    for descriptor in message.DESCRIPTOR.fields:
        inner = descriptor.type == FieldDescriptor.TYPE_MESSAGE
        if inner and not descriptor.is_repeated and message.HasField(descriptor.name):
            _randomized(getattr(message, descriptor.name), chance, share)
        elif chance.random() >= share:
            continue
        elif inner:
            getattr(message, descriptor.name).SetInParent()
            _randomized(getattr(message, descriptor.name), chance, share)
        elif descriptor.is_repeated:
            values = [_value(descriptor, chance) for _ in range(chance.choice((0, 1, 3, 120)))]
            getattr(message, descriptor.name).extend(values)
        else:
            setattr(message, descriptor.name, _value(descriptor, chance))
    return message


def _value(descriptor: FieldDescriptor, chance: random.Random) -> object:
    if descriptor.name == "library":
        return chance.choice(("", "", "default", "default", *_TEXTS))
    if descriptor.name == "cont_sign" or descriptor.name == "cont_signs":
        return chance.choice(("1,2", "1,2", *_TEXTS))
    match descriptor.type:
        case FieldDescriptor.TYPE_STRING:
            return chance.choice(_TEXTS)
        case FieldDescriptor.TYPE_BYTES:
            return _bytes(chance)
        case FieldDescriptor.TYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.TYPE_ENUM:
            return chance.choice((0, 1, 2, 3, 4, -1, 2**31 - 1))
        case FieldDescriptor.TYPE_DOUBLE:
            return chance.choice(_FLOATS)
    return chance.choice(_NUMBERS)


def random_wire(kind: type[Message], chance: random.Random) -> tuple[bytes, bool]:
    """Return the bytes of a request, and whether they are a message for certain."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randint(0, 200)), False
    wire = random_message(kind, chance).SerializeToString()
    if chance.random() < 0.3:
        return _mutated(chance, [wire]), False
    return wire, True
