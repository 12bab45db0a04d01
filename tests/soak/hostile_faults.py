"""How an upstream fails so that secrets come out: it echoes them, in every place and spelling.

Each fault makes an answer from what was asked. Knows nothing of connections.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from productsearch_service.upstream.codes import MEANINGS
from tests.soak.secret_pieces import RUN_CHARS

if TYPE_CHECKING:
    from tests.soak.hostile_upstream import HostileUpstream


@dataclass(frozen=True)
class Asked:
    """One request: which fault it wants, at which of the two places, and what to echo."""

    fault: str
    at_token: bool
    target: str
    body: str
    chance: random.Random = field(repr=False)

    def secret(self, hostile: HostileUpstream) -> str:
        """Return what a careless upstream knows of this request: its token, or its key pair."""
        if not self.at_token:
            return self.target.partition("access_token=")[2] or hostile.secrets.tokens[0]
        return self.chance.choice((hostile.secrets.api_key, hostile.secrets.secret_key))


def http(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def as_json(**members: object) -> bytes:
    """Return an answer of status 200 with these members."""
    return http("200 OK", json.dumps(members).encode(), "Content-Type: application/json")


def _error_msg(spell: Callable[[str], str]) -> Callable[[Asked, HostileUpstream], bytes]:
    def answer(asked: Asked, hostile: HostileUpstream) -> bytes:
        code = asked.chance.choice([*MEANINGS, 424242, 216100, 216101, 282003])
        echo = spell(asked.secret(hostile))
        if asked.at_token:
            return http("401 No", json.dumps({"error": echo, "error_description": echo}).encode())
        return as_json(error_code=code, error_msg=f"bad call {echo} done", log_id=7)

    return answer


def _cut(asked: Asked, hostile: HostileUpstream) -> bytes:
    whole = _html(asked, hostile)
    return whole[: asked.chance.randrange(len(whole))]


def _html(asked: Asked, _: HostileUpstream) -> bytes:
    return http("502 Bad Gateway", f"<html>POST {asked.target} {asked.body}</html>".encode())


def _redirect(asked: Asked, hostile: HostileUpstream) -> bytes:
    where = f"Location: {hostile.url}/trap{asked.target}&{asked.body}"
    return http(asked.chance.choice(["301 Moved", "302 Found", "307 Temporary"]), b"", where)


def _bad_json(asked: Asked, _: HostileUpstream) -> bytes:
    return http("200 OK", f'{{"error_msg": "{asked.target} {asked.body}"'.encode())


def _token_endpoint_tells(asked: Asked, hostile: HostileUpstream) -> bytes:
    """Answer as a token endpoint with the pair in places where other things belong."""
    pair = {"client_id": hostile.secrets.api_key, "client_secret": hostile.secrets.secret_key}
    insane: list[dict[str, object]] = [
        {"error": "invalid_client", "error_description": str(pair)},
        {"access_token": hostile.secrets.tokens[0], "expires_in": hostile.secrets.secret_key},
        {"access_token": hostile.secrets.tokens[0], "expires_in": 5, **pair},
        {"access_token": f"{hostile.secrets.secret_key}\n", "expires_in": 2592000},
        {"access_token": [*pair.values()], "expires_in": 2592000},
    ]
    return as_json(**asked.chance.choice(insane))


def _shortened(asked: Asked, hostile: HostileUpstream) -> bytes:
    """Echo so few characters that they do not look like a secret, as shortened log lines do."""
    keep = asked.chance.randint(RUN_CHARS, 15)
    return _error_msg(lambda secret: f"<{secret[:keep]}…>")(asked, hostile)


def _chopped(asked: Asked, hostile: HostileUpstream) -> bytes:
    """Echo the secret in words of 12 to 15 characters."""
    width = asked.chance.randint(RUN_CHARS, 15)
    return _error_msg(lambda secret: " ".join(re.findall(f".{{1,{width}}}", secret)))(
        asked, hostile
    )


def _at_the_cut(asked: Asked, hostile: HostileUpstream) -> bytes:
    """Echo the secret where a reader that stops after so many characters cuts it."""
    stop = asked.chance.choice([64, 100, 128, 200, 256, 1000, 1024, 4096, 10_000, 16_384])
    filler = asked.chance.choice(["y" * stop, "word " * stop, "no!" * stop])
    return _error_msg(lambda secret: f"{filler[: stop - asked.chance.randint(12, 40)]} {secret}")(
        asked, hostile
    )


def _other_members(asked: Asked, hostile: HostileUpstream) -> bytes:
    """Put the secret where a signature, a number or a code belongs."""
    secret = asked.secret(hostile)
    return as_json(
        **asked.chance.choice(
            [
                {"error_code": 216681, "error_msg": "item has existed", "cont_sign": secret},
                {"error_code": secret, "error_msg": "no"},
                {"error_code": 424242, "log_id": secret, secret: secret},
                {"error_code": 216681, "cont_sign": {secret: secret}},
                {"error": "invalid_client", secret: secret},
            ]
        )
    )


def _rows(asked: Asked, hostile: HostileUpstream) -> bytes:
    """Put the secret into results that cannot be read."""
    secret = asked.secret(hostile)
    row = {"cont_sign": "1,2", "score": 0.5, "brief": "b"}
    wrong = asked.chance.choice([{"cont_sign": secret}, {"score": secret}, {"brief": [secret]}])
    return as_json(log_id=7, cont_sign=secret, result=[row, row | wrong, secret])


def _fixed(answer: bytes) -> Callable[[Asked, HostileUpstream], bytes]:
    return lambda _asked, _hostile: answer


def _headers(line: str) -> Callable[[Asked, HostileUpstream], bytes]:
    """Answer a body that fails, below a header line that HTTP does not know; {} is the URL."""
    body = b'{"error_code": 424242, "error_msg": "no"}'
    return lambda asked, _: http("200 OK", body, line.format(asked.target))


FAULTS: Final[dict[str, Callable[[Asked, HostileUpstream], bytes | None]]] = {
    "close": _fixed(b""),
    "reset": lambda _asked, _hostile: None,
    "cut": _cut,
    "stall": _html,
    "html": _html,
    "redirect": _redirect,
    "bad-json": _bad_json,
    "plain": _error_msg(lambda secret: f"?access_token={secret}"),
    "percent": _error_msg(lambda secret: quote(secret, safe="")),
    "base64": _error_msg(lambda secret: base64.b64encode(secret.encode()).decode()),
    "slashes": _error_msg(lambda secret: secret.replace("/", "\\/")),
    "unicode": _error_msg(lambda secret: "".join(f"\\u{ord(c):04x}" for c in secret)),
    "unicode-twice": _error_msg(lambda secret: "".join(f"\\\\u{ord(c):04x}" for c in secret)),
    "entities": _error_msg(lambda secret: "".join(f"&#{ord(c)};" for c in secret)),
    "spaced": _error_msg(" ".join),
    "full-width": _error_msg(lambda secret: "".join(chr(ord(c) + 0xFEE0) for c in secret)),
    "shortened": _shortened,
    "chopped": _chopped,
    "at-the-cut": _at_the_cut,
    "members": _other_members,
    "rows": _rows,
    "unknown": _fixed(as_json(error_code=424242, error_msg="no such thing")),
    "rejected": lambda asked, _: as_json(error_code=asked.chance.choice((100, 110, 111))),
    "wrong-kind": _fixed(as_json(error_code=14, error_msg="IAM Certification failed")),
    "invalid-client": _fixed(http("401 No", b'{"error": "invalid_client"}')),
    "token-tells": _token_endpoint_tells,
    "status-line": lambda asked, _: f"HTTP/9 {asked.target} {asked.body}\r\n\r\n".encode(),
    "bad-header": _headers("no header at all {}"),
    "echoing-header": _headers("Set-Cookie: seen={}"),
    "endless-header": _headers("X-Long: {}" + "x" * 70_000),
    "bad-gzip": lambda asked, _: http(
        "200 OK", gzip.compress(asked.target.encode())[:-9], "Content-Encoding: gzip"
    ),
    "bad-chunk": lambda asked, _: (
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{asked.target}\r\n".encode()
    ),
}
CLOSING: Final = ("close", "cut", "stall", "status-line", "bad-chunk", "bad-header")
"""After these the connection's end is the end of the answer."""
PLACES: Final = ("token", "call")
CASES: Final = tuple(itertools.product(FAULTS, PLACES))
RARE: Final = ("stall", "endless-header")  # these cost waiting and bytes, and hide nothing more
