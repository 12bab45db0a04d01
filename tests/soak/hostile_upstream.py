"""An upstream whose answers are the faults that the path asks for, over real HTTP on loopback.

It knows the secrets, as an upstream does, and counts what it served.
"""

from __future__ import annotations

import random
import socketserver
import struct
import threading
import time
from collections import Counter
from socket import SO_LINGER, SOL_SOCKET
from typing import Final

from tests.soak.hostile_faults import CLOSING, FAULTS, Asked, as_json
from tests.soak.secret_pieces import Secrets

STALL_S: Final = 0.4


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
            time.sleep(STALL_S)
            answer = answer[len(answer) // 2 :]
        self.connection.sendall(answer)
        return fault not in CLOSING
