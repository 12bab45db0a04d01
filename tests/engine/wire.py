"""Random requests to an engine, as bytes on the wire, and what came of each."""

from __future__ import annotations

import json
import random
import socket
from contextlib import suppress
from typing import Final
from urllib.parse import quote_from_bytes, urlsplit

from productsearch_engine.api import codes
from tests.engine.calling import CALLS, image_field
from tests.engine.image_files import jpeg

DOCUMENTED: Final = frozenset(codes.MESSAGES) - {codes.UNKNOWN, codes.INTERNAL, codes.UNAVAILABLE}
_PATIENCE_S: Final = 60.0
"""For a connection, and for the answer to a whole request."""
_BROKEN_S: Final = 0.15
"""For the answer to a request that may be cut short: the engine then waits for the rest."""
_IMAGE: Final = image_field(jpeg(1)).encode()
_METHODS: Final = ("add", "search", "update", "delete", "none", "%00", "add/", "..", "%c3%28")
_VERBS: Final = ("POST",) * 6 + ("GET", "PUT", "HEAD", "OPTIONS", "BREW", "CONNECT")
# fmt: off
_NAMES: Final = (
    b"image", b"url", b"cont_sign", b"brief", b"class_id1", b"class_id2", b"tag_logic", b"pn",
    b"rn", b"grant_type", b"client_id", b"client_secret", b"", b"\0", b"x[]",
)
_VALUES: Final = (
    _IMAGE, _IMAGE[:-3], b"", b"\0", b"0", b"1", b"-1", b"65536", b"1e3", b" 7 ", b"1,2",
    b"1,2;3,4;", b";", b"\xff\xfe", b"x" * 300, "ü".encode(), b"%", b"%zz", b"data:,", b"NaN",
    b"http://[x", b"http://a..b/x", b"http://127.0.0.1:1/", b"http://a" + b"b" * 64 + b"/",
    b"ftp://a/", b"http://\xff/", b"http://u:p@a/", b"client_credentials", b"//a/",
    b"http://[fe80::1%25lo]/", b"https://127.1:9/", b"http://0x7f.1/",
)
_HEADERS: Final = (
    b"Content-Type: \xff", b"Content-Type: ;=", b"Content-Length: 5", b"Cookie: \0", b"X",
    b"Content-Type: multipart/form-data", b"Expect: 100-continue", b"Connection: close",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"Content-Encoding: gzip", b"Host:",
    b"Authorization: bce-auth-v1/x", b"Authorization: \xff", b" folded", b"A" * 3000 + b": b",
    b'Content-Type: multipart/form-data; boundary="e', b"Transfer-Encoding: x",
    b"Content-Type: text/plain; charset=utf-7",
)
_PIECES: Final = (
    b"--e\r\n", b"--e--", b"--e", b"\r\n", b"\r\n\r\n", b"&", b"=", b"%", b"+", b"\0", b"\xff",
    b'Content-Disposition: form-data; name="brief"', b"Content-Disposition: x", b"X: y\r\n",
    b"Content-Disposition: form-data; name*=utf-8''%ff",
)
# fmt: on


def request(chance: random.Random, token: str) -> tuple[bytes, bool]:
    """Return a request, nearly right or wrong in one way or several, and whether it is whole.

    One that is whole has an ordinary head and all of its body, whatever this says: it is answered.
    """
    verb = chance.choice(_VERBS)
    path = CALLS + chance.choice(_METHODS[:4] if chance.random() < 0.8 else _METHODS)
    tokens = (token, token, token, token, token[:-1], "", "%00", "24.x", token + "?aipSdk=node")
    target = f"{path}?access_token={chance.choice(tokens)}"
    if chance.random() < 0.15:
        target = "/oauth/2.0/token" + chance.choice(("", "?grant_type=client_credentials", "?%ff="))
    elif chance.random() < 0.03:
        target = chance.choice(("*", "http://a/", "/rest/2.0/x", "/%", "/\xff", "//", "/healthz"))
    kind, body = chance.choice((_form, _form, _form, _multipart, _noise))(chance)
    lines = [f"{verb} {target} HTTP/1.1".encode("latin-1"), b"Host: x", b"Content-Type: " + kind]
    odd = [chance.choice(_HEADERS) for _ in range(chance.choice((0,) * 8 + (1, 2)))]
    whole, lines = not odd, lines + odd
    if chance.random() < 0.1:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    else:
        lines.append(b"Content-Length: %d" % len(body))
    sent = b"\r\n".join([*lines, b"", body])
    if chance.random() < 0.1:
        at = chance.randrange(len(sent))
        sent = sent[:at] + chance.randbytes(chance.randrange(3)) + sent[at + chance.randrange(2) :]
        whole = False
    return sent, whole


def _fields(chance: random.Random) -> list[tuple[bytes, bytes]]:
    good = [(b"image", _IMAGE), (b"brief", b"x")] if chance.random() < 0.5 else []
    wrong = chance.choice((0, 1, 1, 2, 3))
    return good + [(chance.choice(_NAMES), chance.choice(_VALUES)) for _ in range(wrong)]


def _form(chance: random.Random) -> tuple[bytes, bytes]:
    raw = chance.random() < 0.2
    pairs = [
        name + b"=" + (value if raw else quote_from_bytes(value).encode())
        for name, value in _fields(chance)
    ]
    return b"application/x-www-form-urlencoded", b"&".join(pairs)


def _multipart(chance: random.Random) -> tuple[bytes, bytes]:
    head = b'--e\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    parts = [head % pair for pair in _fields(chance)]
    if chance.random() < 0.3:
        parts.insert(0, chance.choice(_PIECES))
    return b"multipart/form-data; boundary=e", b"".join([*parts, b"--e--\r\n"])


def _noise(chance: random.Random) -> tuple[bytes, bytes]:
    kind = chance.choice((b"multipart/form-data; boundary=e", b"application/json", b""))
    pieces = [chance.choice(_PIECES) for _ in range(chance.randrange(30))]
    if chance.random() < 0.02:
        pieces *= 20_000 // max(len(pieces), 1)
    return kind, b"".join(pieces)


class Wire:
    """One connection, opened anew when the engine closes it."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 0)
        self._socket: socket.socket | None = None

    def outcome(self, sent: bytes, *, whole: bool) -> str:
        """Send a request; return ``code N``, ``HTTP N``, ``closed``, ``nothing``, or WRONG and why.

        A whole one has to be answered, however long that takes. One that is not may be answered
        with nothing, and leave something behind: its connection is closed.
        """
        if not whole:
            outcome = self._outcome(sent, _BROKEN_S)
            self.close()
            return outcome
        outcome = self._outcome(sent, _PATIENCE_S)
        return f"WRONG: {outcome}" if outcome in ("nothing", "closed") else outcome

    def _outcome(self, sent: bytes, answer_s: float) -> str:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, _PATIENCE_S)
        self._socket.settimeout(answer_s)
        try:
            self._socket.sendall(sent)
            status, body = self._answer(to_head=sent.startswith(b"HEAD "))
        except (ConnectionError, EOFError):
            self.close()
            return "closed"
        except TimeoutError:
            self.close()
            return "nothing"
        if b" HTTP/1.1\r\n" not in sent[:2000] or sent.count(b"HTTP/1.1") > 1 or status != 200:
            self.close()
        return _judged(status, body)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _answer(self, *, to_head: bool) -> tuple[int, bytes]:
        assert self._socket
        got = b""
        while True:
            head, end, body = got.partition(b"\r\n\r\n")
            if end and head.startswith(b"HTTP/1.1 100"):
                got = body
                continue
            if end:
                lines = head.lower().split(b"\r\n")
                told = next((line for line in lines if line.startswith(b"content-length:")), b"")
                length = 0 if to_head else int(told.partition(b":")[2] or 0)
                if len(body) >= length:
                    if len(body) > length:  # an answer to what was read as another request
                        self.close()
                    return int(head.split(b" ")[1]), body[:length]
            piece = self._socket.recv(65536)
            if not piece:
                raise EOFError
            got += piece


def _judged(status: int, body: bytes) -> str:
    if status in (307, 400, 401, 404, 405):  # 307: / leads to the console
        return f"HTTP {status}"
    if status != 200:
        return f"WRONG: HTTP {status} {body[:100]!r}"
    told: object = None
    with suppress(ValueError):
        told = json.loads(body)
    if not isinstance(told, dict):
        return "HTTP 200" if not body or body.startswith(b"# HELP") else f"WRONG: {body[:100]!r}"
    code = told.get("error_code", 0)
    return f"code {code}" if code in DOCUMENTED or code == 0 else f"WRONG: code {code}"
