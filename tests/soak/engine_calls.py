"""Calls to the engine that are nearly right: made for its depths, where ``wire`` tries the rest.

Most have a valid token and a known method, so that forms, fields, images, addresses and SQL meet
what was mutated. Knows bytes. Does not know connections.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote_from_bytes

from tests.engine.calling import CALLS, image_field
from tests.engine.image_files import jpeg

_METHODS: Final = ("add", "search", "update", "delete")
_SMALL: Final = image_field(jpeg(1, (300, 300))).encode()
_GOOD: Final = {
    b"image": (_SMALL,),
    b"url": (b"http://127.0.0.1:1/x.jpg", b"https://[::1]:1/", b"http://10.0.0.1:1/a?b=c#d"),
    b"cont_sign": (b"1,2", b"4294967295,0", b"1,2;3,4;5,6"),
    b"brief": (b"a shoe", "ü".encode(), b'{"a": 1}', b"x" * 256),
    b"class_id1": (b"1", b"65535"),
    b"class_id2": (b"7",),
    b"tag_logic": (b"0", b"1"),
    b"pn": (b"0", b"10", b"990"),
    b"rn": (b"1", b"5", b"1000"),
    b"region": (b"0,0,1,1", b"0.25,0.25,0.5,0.5"),
    b"rerank": (b"0", b"1"),
}
_NAMES: Final = tuple(_GOOD)
_NEEDED: Final[dict[str, tuple[bytes, ...]]] = {
    "add": (b"image", b"brief"),
    "search": (b"image",),
    "update": (b"cont_sign", b"brief"),
    "delete": (b"cont_sign",),
}
_CLASSES: Final = (b"class_id1", b"class_id2")
_OPTIONAL: Final[dict[str, tuple[bytes, ...]]] = {
    "add": (*_CLASSES, b"region"),
    "search": (*_CLASSES, b"tag_logic", b"pn", b"rn", b"region", b"rerank"),
    "update": _CLASSES,
    "delete": _CLASSES,
}
# What means something to a reader of forms, numbers, addresses or base64.
_BITS: Final = (
    b"", b"\0", b"\xff", b"%", b"%00", b"%u0041", b"&", b"=", b";", b",", b"+", b" ", b"\r\n", b"-",
    b"0", b"1e9", b"inf", b"nan", b"-0", b"4294967296", b"\xef\xbc\x91", b"\xd9\xa3", b"://", b"[",
    b"]", b"@", b"..", b"%25", b":", b"localhost", b"xn--", b"\xe2\x80\x8d", b"data:image/jpeg;",
    b"A" * 70, b"9" * 400, b"'", b'"', b"\\", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"_", b"=" * 5,
)  # fmt: skip
_KINDS: Final = (
    b"application/x-www-form-urlencoded",
    b"application/x-www-form-urlencoded; charset=gbk",
    b"APPLICATION/X-WWW-FORM-URLENCODED;",
    b"multipart/form-data; boundary=%b",
    b'multipart/form-data; boundary="%b"; charset=x',
    b"multipart/mixed; boundary=%b",
    b"text/plain",
)
_EXTRAS: Final = (
    b"Accept-Encoding: gzip", b"Connection: keep-alive", b"X-A: \xff\xfe", b"Cookie: a=b",
    b"Authorization: bce-auth-v1/x/y", b"Content-Type: text/plain", b"Forwarded: for=1.2.3.4",
    b"X-Forwarded-For: ::1", b"Content-Encoding: deflate", b"Range: bytes=0-1", b"TE: trailers",
    b"If-None-Match: *", b"Content-MD5: x", b"Expect: 100-continue",
)  # fmt: skip
_PART_HEADS: Final = (
    b'Content-Disposition: form-data; name="%b"',
    b"Content-Disposition: form-data; name=%b",
    b'content-disposition:form-data;name="%b"; filename="a.jpg"\r\nContent-Type: image/jpeg',
    b'Content-Disposition: form-data; name="%b"; name="brief"',
    b"Content-Disposition: form-data; name*=utf-8''%b",
    b'X: y\r\nContent-Disposition: form-data; filename=x; name="%b"',
)


def call(chance: random.Random, token: str, host: str) -> tuple[bytes, bool]:
    """Return a request, and whether it is whole: then an answer must come.

    ``host`` is the base URL of a server whose answers are foreign, too.
    """
    method = chance.choice(_METHODS)
    pairs = _pairs(chance, host)
    kind = chance.choice(_KINDS[:1] * 4 + _KINDS)
    if b"%b" in kind:
        boundary = chance.choice((b"e", b"--e", b"a b", b"x" * 70))
        kind, body = kind % boundary, _multipart(chance, boundary, pairs)
    else:
        body = b"&".join(name + b"=" + _quoted(chance, value) for name, value in pairs)
    if chance.random() < 0.1:
        body = mutated(chance, body)
    if chance.random() < 0.1:
        token = mutated(chance, token.encode()).decode("latin-1")
    query = b"access_token=" + quote_from_bytes(token.encode("latin-1"), safe=".-").encode()
    if chance.random() < 0.1:
        query = chance.choice((b"a=b&", b"&&", b"access_token=x&", b"%ff=%ff&")) + query
    lines = [b"POST %b%b?%b HTTP/1.1" % (CALLS.encode(), method.encode(), query), b"Host: x"]
    lines.append(b"Content-Type: " + kind)
    lines += chance.sample(_EXTRAS, chance.choice((0, 0, 0, 1, 2)))
    if chance.random() < 0.15:
        lines.append(b"Transfer-Encoding: chunked")
        body = _chunked(chance, body)
    else:
        lines.append(b"Content-Length: %d" % len(body))
    sent = b"\r\n".join([*lines, b"", body])
    if chance.random() < 0.03:
        return mutated(chance, sent), False
    return sent, True


def slip(chance: random.Random, token: str) -> tuple[bytes, bool]:
    """Return a valid request that is mutated in one place or none, and whether it is whole."""
    method = chance.choice(_METHODS)
    names = [*_NEEDED[method], *chance.sample(_OPTIONAL[method], chance.choice((0, 1, 2)))]
    pairs = [[name, chance.choice(_GOOD[name])] for name in dict.fromkeys(names)]
    place = chance.choice(("value", "value", "name", "escape", "body", "token", "head", "none"))
    if place in ("value", "name"):
        pair, at = chance.choice(pairs), 0 if place == "name" else 1
        pair[at] = mutated(chance, pair[at])
    form = [[name, quote_from_bytes(value, safe="").encode()] for name, value in pairs]
    if place == "escape":
        pair = chance.choice(form)
        pair[1] = _quoted(chance, pair[1])
    body = b"&".join(b"=".join(pair) for pair in form)
    if place == "body":
        body = mutated(chance, body)
    if place == "token":
        token = quote_from_bytes(mutated(chance, token.encode()), safe=".-")
    head = b"\r\n".join((
        b"POST %b%b?access_token=%b HTTP/1.1" % (CALLS.encode(), method.encode(), token.encode()),
        b"Host: x", b"Content-Type: " + _KINDS[0], b"Content-Length: %d" % len(body), b"", b"",
    ))  # fmt: skip
    if place == "head":
        return mutated(chance, head) + body, False
    return head + body, True


def mutated(chance: random.Random, value: bytes) -> bytes:
    """Return a value with a few pieces put in, taken out, doubled or changed."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(value) + 1)
        end = min(len(value), at + chance.choice((0, 0, 1, 2, 9)))
        piece = chance.choice((chance.choice(_BITS), chance.randbytes(2), value[at:end] * 2))
        value = value[:at] + piece + value[end:]
    return value


def image_call(chance: random.Random, token: str, file: bytes) -> bytes:
    """Return a search, or sometimes an add, of an image's file."""
    field = image_field(file).encode()
    if chance.random() < 0.5:
        kind = b"application/x-www-form-urlencoded"
        body = b"rn=1&brief=x&image=" + field.replace(b"+", b"%2B").replace(b"/", b"%2F")
    else:
        kind = b"multipart/form-data; boundary=e"
        body = _multipart(
            random.Random(0), b"e", [(b"brief", b"x"), (b"image", field)], heads=_PART_HEADS[:1]
        )
    method = b"add" if chance.random() < 0.1 else b"search"
    head = b"POST %b%b?access_token=%b HTTP/1.1" % (CALLS.encode(), method, token.encode())
    lines = [head, b"Host: x", b"Content-Type: " + kind, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


def _pairs(chance: random.Random, host: str) -> list[tuple[bytes, bytes]]:
    source = chance.choice((b"cont_sign",) * 6 + (b"url",) * 2 + (b"image",))
    names = [source, *chance.sample(_NAMES, chance.choice((0, 1, 2, 3)))]
    pairs = []
    for name in names:
        value = chance.choice(_GOOD[name])
        if name == b"url" and chance.random() < 0.4:
            value = b"%b/%d" % (host.encode(), chance.getrandbits(32))
        if chance.random() < 0.35:
            value = mutated(chance, value)
        pairs.append((name if chance.random() < 0.97 else mutated(chance, name), value))
    if chance.random() < 0.01:
        pairs *= 40
    chance.shuffle(pairs)
    return pairs


def _quoted(chance: random.Random, value: bytes) -> bytes:
    match chance.randrange(12):
        case 0:
            return value
        case 1:
            return quote_from_bytes(quote_from_bytes(value).encode()).encode()
        case 2:
            return b"".join(b"%%%02x" % byte for byte in value[:500])
    return quote_from_bytes(value).encode()


def _multipart(
    chance: random.Random,
    boundary: bytes,
    pairs: Sequence[tuple[bytes, bytes]],
    heads: Sequence[bytes] = _PART_HEADS[:1] * 6 + _PART_HEADS,
) -> bytes:
    parts = [
        b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, chance.choice(heads) % p[0], p[1]) for p in pairs
    ]
    return b"".join([*parts, b"--%b--\r\n" % boundary])


def _chunked(chance: random.Random, body: bytes) -> bytes:
    pieces, at = [], 0
    while at < len(body):
        size = chance.choice((1, 7, 300, 5000, len(body)))
        pieces.append(b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size]))
        at += size
        if len(pieces) > 50:
            pieces.append(b"%x\r\n%b\r\n" % (len(body) - at, body[at:]) if at < len(body) else b"")
            break
    return b"".join([*pieces, b"0\r\n", chance.choice((b"", b"", b"X: y\r\n")), b"\r\n"])
