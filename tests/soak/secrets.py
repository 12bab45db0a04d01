"""Tries to make the facade tell its secrets: an upstream that fails and echoes, ears everywhere.

Each case is one call that fails in one way (fault) at one place (token endpoint or call), with
every logger at DEBUG. What is listened to: status messages, details and trailers; the text of
each exception that surfaces, of its causes and contexts, and all local variables of their
frames; reprs of what holds a secret; stdout and stderr of the process, which has the product's
log handlers; and a facade started as in production, with its command line. Heard must be: no
12 characters in a row of any token, API key or secret key, in any spelling.

The cases run in a process of their own (this module with ``worker``), so that its output is
what an operator would keep. Secrets come from the seed and never from the command line.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import itertools
import json
import logging
import os
import random
import re
import socketserver
import string
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Final
from urllib.parse import quote

import grpc
import numpy as np

from demo.facade import Facade
from productsearch import v1
from productsearch_service import limits, logs
from productsearch_service.calls import Add, Ask, Delete, Picture, Search, Update
from productsearch_service.deadline import Deadline
from productsearch_service.errors import ServiceError
from productsearch_service.libraries import Library
from productsearch_service.server import Server, _credentials, _library
from productsearch_service.settings import LibrarySettings, Settings
from productsearch_service.status import status_of
from productsearch_service.upstream.codes import MEANINGS
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.token import TokenSource
from productsearch_service.upstream.transport import Transport
from tests.pictures import jpeg
from tests.soak.measures import Measure, report

FULL: Final = 100_000
SEED: Final = 20261123
ROOT: Final = Path(__file__).parents[2]

RUN_CHARS: Final = 12
"""So many characters of a secret in a row are a leak."""
_STUB_SHARE: Final = 0.1
_PROCESS_CASES: Final = 200
_THREADS: Final = 8
_CALLS_OF_A_LIBRARY: Final = 4
"""A library's breaker opens after five failures; then nothing would reach the upstream."""
_STALL_S: Final = 0.4
_SHORT_DEADLINE_S: Final = 0.2
_TOKEN_CHARACTERS: Final = string.ascii_letters + string.digits + "-._~+/="


# ---------------------------------------------------------------- what must not be heard


@dataclass(frozen=True)
class Secrets:
    """A key pair and the tokens that it gets; all of it random."""

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    tokens: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, seed: int) -> Secrets:
        """Return the secrets of a seed."""
        chance = random.Random(seed)
        letters = string.ascii_letters + string.digits
        vendors = [
            f"24.{chance.randbytes(16).hex()}.2592000.{chance.randrange(10**9, 10**10)}."
            f"{chance.randrange(10**5, 10**6)}-{chance.randrange(10**7, 10**8)}"
            for _ in range(4)
        ]
        others = ["".join(chance.choices(_TOKEN_CHARACTERS, k=70)) for _ in range(4)]
        return cls(
            "".join(chance.choices(letters, k=24)),
            "".join(chance.choices(letters, k=32)),
            (*vendors, *others),
        )


def spellings(secret: str) -> dict[str, str]:
    """Return the ways in which a text can have the secret in it."""
    quoted = quote(secret, safe="")
    plain = {
        "plain": secret,
        "percent": quoted,
        "percent, lower case": re.sub("%..", lambda escape: escape[0].lower(), quoted),
        "JSON": json.dumps(secret)[1:-1],
        "JSON, escaped slashes": secret.replace("/", "\\/"),
    }
    for pad in range(3):
        encoded = base64.b64encode(b"x" * pad + secret.encode()).decode()[4 if pad else 0 : -4]
        plain[f"base64, offset {pad}"] = encoded
        plain[f"base64url, offset {pad}"] = encoded.translate(str.maketrans("+/", "-_"))
    return plain


class Pieces:
    """Finds runs of a secret in megabytes: the first 8 bytes of a run index a table of bits."""

    _FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
    _SHIFT: Final = np.uint64(64 - 22)

    def __init__(self, secrets: Secrets) -> None:
        named = [("API key", secrets.api_key), ("secret key", secrets.secret_key)]
        named += [("token", token) for token in secrets.tokens]
        self._known: dict[bytes, str] = {}
        for name, secret in named:
            for spelling, text in spellings(secret).items():
                for at in range(len(text) - RUN_CHARS + 1):
                    run = text[at : at + RUN_CHARS].encode()
                    self._known.setdefault(run, f"{name}, {spelling}")
        self._slots = np.zeros(1 << 22, dtype=np.bool_)
        for run in self._known:
            self._slots[self._slot(np.frombuffer(run[:8], dtype="<u8"))] = True

    def _slot(self, windows: Any) -> Any:
        with np.errstate(over="ignore"):
            return ((windows * self._FACTOR) >> self._SHIFT).astype(np.intp)

    def found(self, text: str | bytes) -> list[str]:
        """Return which secrets, in which spellings, have runs in the text."""
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        if len(data) < RUN_CHARS:
            return []
        count = len(data) - RUN_CHARS + 1
        windows = np.ndarray((count,), dtype="<u8", buffer=data, strides=(1,))
        candidates = np.flatnonzero(self._slots[self._slot(windows)])
        runs = {data[at : at + RUN_CHARS] for at in candidates.tolist()}
        return sorted({self._known[run] for run in runs if run in self._known})


# ---------------------------------------------------------------- an upstream that echoes


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
_CLOSING: Final = ("close", "cut", "stall", "status-line", "bad-chunk", "bad-header")
"""After these the connection's end is the end of the answer."""
PLACES: Final = ("token", "call")
CASES: Final = tuple(itertools.product(FAULTS, PLACES))
_RARE: Final = ("stall", "endless-header")  # these cost waiting and bytes, and hide nothing more


class HostileUpstream:
    """Answers each request with the fault that its path begins with; a context manager.

    ``/FAULT/PLACE/...``: the fault comes at that place, and with the place ``call`` there is a
    token first. The fault ``any`` is another one each time.
    """

    def __init__(self, secrets: Secrets, seed: int) -> None:
        self.secrets = secrets
        self.served: Counter[tuple[str, str]] = Counter()
        self.trapped = 0
        self._seeds = random.Random(seed)
        self._lock = threading.Lock()
        hostile = self

        class Handler(_Handler):
            upstream = hostile

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, False)
        self._server.daemon_threads = True
        self._server.request_queue_size = 256
        self._server.server_bind()
        self._server.server_activate()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HostileUpstream:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, target: str, body: str) -> tuple[str, bytes | None]:
        """Return the fault's name and the bytes to send; None resets the connection."""
        fault, place = target.split("/", 3)[1:3]
        with self._lock:
            chance = random.Random(self._seeds.getrandbits(64))
            if fault == "trap":
                self.trapped += 1
                return "trap", as_json(access_token=self.secrets.tokens[0], expires_in=2592000)
        at_token = "/oauth/" in target
        if fault == "any":
            fault = chance.choice([*FAULTS])
            place = chance.choice(("call", "call", "call", "token"))
        if at_token and place != "token":
            token = chance.choice(self.secrets.tokens)
            return "", as_json(access_token=token, expires_in=2592000, scope="brain_all_scope")
        with self._lock:
            self.served[fault, "token" if at_token else "call"] += 1
        return fault, FAULTS[fault](Asked(fault, at_token, target, body, chance), self)


class _Handler(socketserver.StreamRequestHandler):
    upstream: HostileUpstream
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while self._once():
                pass
        except OSError:
            pass

    def _once(self) -> bool:
        target = self.rfile.readline().decode().split(" ")[1:2]
        length = 0
        while line := self.rfile.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if not target:
            return False
        body = self.rfile.read(length)[:200].decode("utf-8", "replace")
        fault, answer = self.upstream.answer(target[0], body)
        if answer is None:
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if fault == "stall":
            self.connection.sendall(answer[: len(answer) // 2])
            time.sleep(_STALL_S)
            answer = answer[len(answer) // 2 :]
        self.connection.sendall(answer)
        return fault not in _CLOSING


# ---------------------------------------------------------------- ears


_FOLDERS: Final = re.compile(r"/\S+/(?=[^/]+\.py:)")


class Ears:
    """Notes in which places which secret was heard. Thread-safe."""

    _BATCH_CHARS: Final = 1 << 18

    def __init__(self, pieces: Pieces) -> None:
        self.heard: Counter[tuple[str, str]] = Counter()
        """(sink, place and secret) -> how often."""
        self.texts: Counter[str] = Counter()
        self._pieces = pieces
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, str, str]] = []
        self._chars = 0

    def hear(self, sink: str, where: str, text: str) -> None:
        """Note a text of a sink; ``where`` says where in it, for whoever looks for the leak."""
        with self._lock:
            self._waiting.append((sink, where, text))
            self.texts[sink] += 1
            self._chars += len(text)
            if self._chars < self._BATCH_CHARS:
                return
        self.flush()

    def flush(self) -> None:
        """Look at what was heard: as a whole, and one by one only if something is in it."""
        with self._lock:
            waiting, self._waiting, self._chars = self._waiting, [], 0
        if not self._pieces.found("\n".join(text for _, _, text in waiting)):
            return
        for sink, where, text in waiting:
            for secret in self._pieces.found(text):
                with self._lock:
                    self.heard[sink, f"{_FOLDERS.sub('', where)}: {secret}"] += 1

    def exception(self, error: BaseException | None, of: str = "") -> None:
        """Hear everything that a tracker of errors could send of an exception."""
        if error is None:
            return
        whole = traceback.TracebackException(
            type(error), error, error.__traceback__, capture_locals=True
        )
        told = [str(error), repr(error), *whole.format_exception_only()]
        self.hear("exception text", f"{of}{type(error).__name__}", "\n".join(told))
        for frame in whole.stack:
            if frame.filename == __file__:
                continue
            for name, shown in (frame.locals or {}).items():
                self.hear("local variable", f"{of}{frame.filename}:{frame.name} {name}", shown)
        for name, value in vars(error).items():
            self.hear("exception attribute", f"{of}{type(error).__name__}.{name}", repr(value))
        self.exception(error.__cause__, f"{of}cause ")
        self.exception(error.__context__, f"{of}context ")

    def status(self, where: str, code: object, details: object, trailers: object) -> None:
        """Hear what a caller gets."""
        self.hear("status", where, f"{code} {details}")
        self.hear("trailers", where, repr(trailers))


class _Tracebacks(logging.Handler):
    """Hears the exceptions that were given to a logger."""

    def __init__(self, ears: Ears) -> None:
        super().__init__()
        self._ears = ears

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._ears.exception(record.exc_info[1], f"logged by {record.name}: ")


# ---------------------------------------------------------------- the cases, in a process


class Attack:
    """All cases against one hostile upstream, in this process."""

    def __init__(self, url: str, seed: int, size: int) -> None:
        self.secrets = Secrets.of(seed)
        self.ears = Ears(Pieces(self.secrets))
        self.failures: Counter[str] = Counter()
        self._url = url
        self._seed = seed
        self._of_thread = threading.local()
        self._by_stub = round(size * _STUB_SHARE)
        self._in_process = size - self._by_stub

    def run(self) -> None:
        """Run every case; a failure that does not fail is missing in ``failures``."""
        _listen_to_everything(self.ears)
        threading.excepthook = lambda death: self.ears.exception(death.exc_value, "thread: ")
        sys.unraisablehook = lambda death: self.ears.exception(death.exc_value, "unraisable: ")
        self._reprs()
        with ThreadPoolExecutor(_THREADS) as pool:
            for outcome in pool.map(self._one, range(self._in_process)):
                self.failures[outcome] += 1
        self._over_grpc()
        self.ears.flush()

    def _case(self, number: int) -> tuple[str, str, random.Random]:
        chance = random.Random(self._seed * 1_000_003 + number)
        fault, place = CASES[number % len(CASES)]
        if fault in _RARE and chance.random() < 0.9:
            fault = chance.choice([name for name in FAULTS if name not in _RARE])
        return fault, place, chance

    def _settings(self, fault: str, place: str) -> LibrarySettings:
        return LibrarySettings(
            base_url=f"{self._url}/{fault}/{place}",
            api_key=self.secrets.api_key,  # type: ignore[arg-type] # as from the environment
            secret_key=self.secrets.secret_key,  # type: ignore[arg-type]
            quota_qps=0,
        )

    def _one(self, number: int) -> str:
        """Let one call fail beneath the gRPC server; return what came of it."""
        fault, place, chance = self._case(number)
        ask = Ask("soak", Deadline.after(_SHORT_DEADLINE_S if fault == "stall" else 10.0))
        attempt = chance.choice(_TOKEN_TRIES if place == "token" else _CALLS)
        library, issuer = self._used(fault, place)
        try:
            attempt(library, issuer, ask)
        except ServiceError as error:
            self.ears.exception(error)
            status = status_of(error)
            where = f"{fault} at {place}"
            self.ears.status(where, status, "", status.SerializeToString())
            return "failed"
        except Exception as error:  # noqa: BLE001 - the count of these is a measure
            self.ears.exception(error, "unforeseen ")
            return f"unforeseen {type(error).__name__}"
        return f"{fault} at {place} succeeded"

    def _used(self, fault: str, place: str) -> tuple[Library, TokenIssuer]:
        """Return this thread's library and issuer for a kind of case; new ones now and then."""
        mine: dict[tuple[str, str], list[Any]] = self._of_thread.__dict__
        left, library, issuer = mine.get((fault, place), (0, None, None))
        if not left:
            settings = self._settings(fault, place)
            if library is not None:
                library.close()
            left, library = _CALLS_OF_A_LIBRARY, _library(settings, 1)
            issuer = TokenIssuer(Transport(settings.base_url), _credentials(settings))
        mine[fault, place] = [left - 1, library, issuer]
        return library, issuer

    def _over_grpc(self) -> None:
        """Let calls fail through the whole service, in each of its libraries in turn."""
        libraries = {
            f"{fault}.{place}": self._settings(fault, place).model_dump()
            for fault, place in CASES
            if fault != "stall"
        }
        settings = Settings(
            listen="127.0.0.1:0",
            libraries=libraries,
            default_library=next(iter(libraries)),
            drain_delay_s=0,
            drain_grace_s=1,
        )
        for text in (repr(settings), str(settings), settings.model_dump_json()):
            self.ears.hear("repr", "Settings", text)
        server = Server(settings)
        self.ears.hear("repr", "Server", repr(server))
        server.start()
        names = itertools.islice(itertools.cycle(libraries), self._by_stub)
        with v1.connect(f"127.0.0.1:{server.port}") as channel, ThreadPoolExecutor(8) as pool:
            stub = v1.ProductSearchStub(channel)
            for outcome in pool.map(
                lambda numbered: call_and_hear(stub, *numbered, self.ears), enumerate(names)
            ):
                self.failures[outcome] += 1
        server.stop(threading.Event())

    def _reprs(self) -> None:
        """Look at everything that holds a secret, before and after it was used."""
        settings = self._settings("unknown", "call")
        transport = Transport(settings.base_url)
        credentials = _credentials(settings)
        issuer = TokenIssuer(transport, credentials)
        tokens = TokenSource(issuer)
        library = _library(settings, 1)
        try:
            library.delete(Delete("1,2"), False, Ask("soak", Deadline.after(10)))
        except ServiceError as error:
            self.ears.exception(error)
        shown = [credentials.read(), settings, transport, credentials, issuer, tokens, library]
        shown += [issuer(), tokens.get(Deadline.after(10))]
        for value in [*shown, *(vars(each) for each in shown if hasattr(each, "__dict__"))]:
            self.ears.hear("repr", type(value).__name__, f"{value!r} {value}")


_Try = Callable[[Library, TokenIssuer, Ask], object]
_CALLS: Final[tuple[_Try, ...]] = (
    lambda library, _, ask: library.add(
        Add(_PICTURE, "b"), v1.DuplicatePolicy.DUPLICATE_POLICY_REJECT, ask
    ),
    lambda library, _, ask: library.search(Search(_PICTURE, 0, 5), b"m", ask),
    lambda library, _, ask: library.update(Update("1,2", "b"), ask),
    lambda library, _, ask: library.delete(Delete("1,2"), False, ask),
)
_TOKEN_TRIES: Final[tuple[_Try, ...]] = (
    *_CALLS[:2],
    lambda _, issuer, ask: TokenSource(issuer).get(ask.deadline),
    lambda _, issuer, _ask: issuer(),
)
_PICTURE: Final = Picture(content=b"\xff\xd8 a picture that nobody looks at")
_IMAGE: Final = v1.ImageSource(content=jpeg(1, 300, 300))
_REQUESTS: Final[tuple[tuple[str, Any], ...]] = (
    ("AddImage", v1.AddImageRequest(new_image=v1.NewImage(image=_IMAGE, brief="b"))),
    ("SearchImages", v1.SearchImagesRequest(image=_IMAGE)),
    ("UpdateImage", v1.UpdateImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"), brief="b")),
    ("DeleteImage", v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"))),
    ("BatchDeleteImages", v1.BatchDeleteImagesRequest(cont_signs=["1,2", "3,4"])),
    ("BulkAddImages", v1.NewImage(image=_IMAGE, brief="b")),
)


def call_and_hear(stub: v1.ProductSearchStub, number: int, library: str, ears: Ears) -> str:
    """Make one RPC that fails and hear all that the caller gets; return what came of it."""
    method, request = _REQUESTS[number % len(_REQUESTS)]
    where = f"{method}, library {library}"
    try:
        if method == "BulkAddImages":
            answers = [*stub.BulkAddImages(_bulk(library, request))]
            ears.status(where, [str(answer) for answer in answers], "", "")
            return "failed" if answers[-1].summary.failed_count else "succeeded"
        mine = type(request)(library=library)
        mine.MergeFrom(request)
        answer = getattr(stub, method)(mine)
        ears.status(where, str(answer), "", "")
        return "failed" if getattr(answer, "failed_count", 0) else "succeeded"
    except grpc.RpcError as error:
        call: Any = error
        ears.status(where, call.code(), call.details(), call.trailing_metadata())
        ears.status(where, str(error), v1.status_of(error), call.initial_metadata())
        return "failed"


def _bulk(library: str, new_image: v1.NewImage) -> Iterator[v1.BulkAddImagesRequest]:
    yield v1.BulkAddImagesRequest(settings=v1.BulkAddImagesRequest.Settings(library=library))
    item = v1.BulkAddImagesRequest.Item(key="k", new_image=new_image)
    yield v1.BulkAddImagesRequest(item=item)


def _listen_to_everything(ears: Ears) -> None:
    """Log as the product does, and then force every logger there is to DEBUG."""
    logs.install("DEBUG")
    for name in ("urllib3", "urllib3.connectionpool", "requests", "grpc", "grpc._server"):
        logging.getLogger(name)
    for logger in [*logging.root.manager.loggerDict.values(), logging.root]:
        if isinstance(logger, logging.Logger):
            logger.setLevel(logging.DEBUG)
            logger.disabled = False
    logging.root.addHandler(_Tracebacks(ears))


def _hurry() -> None:
    """Take the waiting out of retries: here the clock proves nothing."""
    for name in ("BACKOFF_FIRST_S", "BACKOFF_MAX_S", "QPS_BACKOFF_MIN_S", "CALL_MIN_S"):
        setattr(limits, name, 0.001)
    limits.TOKEN_FETCH_TIMEOUT_S = _STALL_S / 2  # type: ignore[misc]


def worker(url: str, seed: int, size: int, results: Path) -> None:
    """Run the cases and write down what was heard."""
    _hurry()
    attack = Attack(url, seed, size)
    attack.run()
    results.write_text(
        json.dumps(
            {
                "heard": [[*place, count] for place, count in attack.ears.heard.items()],
                "texts": attack.ears.texts,
                "failures": attack.failures,
            }
        )
    )
    logging.shutdown()
    os._exit(0)  # threads that wait for a stalled upstream are of no interest


# ---------------------------------------------------------------- the soak


def run(size: int, *, seed: int = SEED) -> list[Measure]:
    """Run ``size`` failing cases and return what was heard."""
    print(f"seed {seed}")
    secrets = Secrets.of(seed)
    pieces = Pieces(secrets)
    ears = Ears(pieces)
    with tempfile.TemporaryDirectory() as kept, HostileUpstream(secrets, seed) as upstream:
        folder = Path(kept)
        command = [sys.executable, "-m", "tests.soak.secrets", "--worker", upstream.url]
        command += ["--seed", str(seed), "--size", str(size), "--results", str(folder / "results")]
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            attack = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err)
            try:
                in_production = _facade_process(folder, upstream, secrets, ears)
                assert attack.wait(3600) == 0, (folder / "stderr").read_text("utf-8")[-3000:]
            finally:
                attack.kill()
        for name in ("stdout", "stderr"):
            _hear_file(folder / name, name, pieces, ears)
        result = json.loads((folder / "results").read_text())
        ears.flush()
        ears.texts.update(result["texts"])
        for sink, where, count in result["heard"]:
            ears.heard[sink, where] += count
        unforeseen = {name: n for name, n in result["failures"].items() if "unforeseen" in name}
        print(f"outcomes {result['failures']}; faults served {sum(upstream.served.values())}")
        print_leaks(ears)
        return [
            Measure(
                name="calls that failed",
                value=result["failures"].get("failed", 0) + in_production,
                relation=">=",
                bar=size * 0.95,
            ),
            Measure(name="unforeseen exceptions", value=sum(unforeseen.values()), relation="==",
                    bar=0),
            Measure(name="faults served", value=sum(upstream.served.values()), relation=">=",
                    bar=size * 0.5),
            Measure(name="kinds of fault and place", value=len(upstream.served), relation=">=",
                    bar=len(CASES)),
            Measure(name="texts listened to", value=sum(ears.texts.values()), relation=">=",
                    bar=size * 5),
            Measure(name="redirects followed", value=upstream.trapped, relation="==", bar=0),
            *_per_sink(ears),
        ]  # fmt: skip


def _per_sink(ears: Ears) -> Iterator[Measure]:
    sinks = (
        *("status", "trailers", "exception text", "exception attribute", "local variable"),
        *("repr", "stdout", "stderr", "log", "cmdline"),
    )
    for sink in sinks:
        count = sum(n for (heard_in, _), n in ears.heard.items() if heard_in == sink)
        yield Measure(name=f"secrets in: {sink}", value=count, relation="==", bar=0)


def print_leaks(ears: Ears) -> None:
    """Print each place that leaks, the worst first."""
    for (sink, where), count in ears.heard.most_common():
        print(f"leak: {sink}: {where}: {count} times")


def _facade_process(folder: Path, upstream: HostileUpstream, secrets: Secrets, ears: Ears) -> int:
    """Let calls fail in a facade started as in production; return how many did."""
    pair = (secrets.api_key, secrets.secret_key)
    facade = Facade(
        folder / "facade",
        f"{upstream.url}/any/any",
        {f"library{number}": pair for number in range(16)} | {"default": pair},
        environment={"PRODUCTSEARCH_LOG_LEVEL": "DEBUG", "PRODUCTSEARCH_DRAIN_DELAY_S": "0"},
    )
    with facade:
        ears.hear("cmdline", "facade", Path(f"/proc/{facade.pid}/cmdline").read_text())
        with v1.connect(facade.url) as channel, ThreadPoolExecutor(32) as pool:
            stub = v1.ProductSearchStub(channel)
            outcomes = Counter(
                pool.map(
                    lambda number: call_and_hear(stub, number, f"library{number % 16}", ears),
                    range(_PROCESS_CASES),
                )
            )
    for line in facade.log().splitlines():
        ears.hear("log", f"facade process, {_logger_of(line)}", line)
    return outcomes["failed"]


def _hear_file(path: Path, sink: str, pieces: Pieces, ears: Ears) -> None:
    """Hear a file of any size, line by line where there is something in it."""
    with path.open("rb") as file:
        for lines in iter(lambda: file.readlines(1 << 20), []):
            ears.texts[sink] += len(lines)
            if pieces.found(b"".join(lines)):
                _hear_lines(sink, lines, pieces, ears)


def _hear_lines(sink: str, lines: Iterable[bytes], pieces: Pieces, ears: Ears) -> None:
    for line in lines:
        for secret in pieces.found(line):
            ears.heard[sink, f"{_logger_of(line.decode('utf-8', 'replace'))}: {secret}"] += 1


def _logger_of(line: str) -> str:
    found = re.search(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL) (\S+) (\S+ ?\S*)", line)
    return f"{found[1]} {found[2]}" if found else "a line without a logger"


def main() -> int:
    """Run as a command; ``--worker`` is this module's own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.seed, arguments.size, arguments.results)
    return report(run(arguments.size, seed=arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
