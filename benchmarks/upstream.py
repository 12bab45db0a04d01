"""An upstream that costs next to nothing: it counts a body's bytes and answers from a table.

``python -m benchmarks.upstream [--tls CERTIFICATE] [--delay-ms N]`` says where it listens on
its first line. It checks that a body is as long as its head says, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from typing import Final, cast

PATH: Final = b"/rest/2.0/image-classify/v1/realtime_search/product/"
_BUFFER_BYTES: Final = 1 << 18
_HITS: Final = ",".join(
    f'{{"cont_sign":"{n},{n}","score":0.{99 - n}12345678901234,"brief":"{{\\"id\\":{n}}}"}}'
    for n in range(1, 6)
)
_ANSWERS: Final = {
    b"add": '{"log_id":1234567890123456789,"cont_sign":"123456789,987654321"}',
    b"search": '{"log_id":1234567890123456789,"result_num":5,"has_more":true,'
    f'"result":[{_HITS}]}}',
    b"update": '{"log_id":1234567890123456789}',
    b"delete": '{"log_id":1234567890123456789}',
    b"traces": "{}",  # as a collector
    b"token": '{"access_token":"24.0123456789abcdef0123456789abcdef.2592000.1900000000.282335-1",'
    '"expires_in":2592000,"scope":"public brain_all_scope"}',
}
_READY: Final = {
    name: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (len(body.encode()), body.encode())
    for name, body in _ANSWERS.items()
}
_REFUSAL: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Connection(asyncio.BufferedProtocol):
    """One connection: heads are kept, bodies are only counted."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._buffer = bytearray(_BUFFER_BYTES)
        self._head = b""
        self._missing = 0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        if self._missing:
            self._missing -= count
        else:
            self._head += self._buffer[:count]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._missing = self._body_bytes(end) - (len(self._head) - end - 4)
            self._answer = self._answer_to(self._head.split(b" ", 2)[1])
            self._head = b""
        if self._missing < 0:
            self._refuse()  # nobody here sends a request before the last one was answered
        elif not self._missing:
            self._reply()

    def _body_bytes(self, end: int) -> int:
        for line in self._head[:end].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                return int(value)
        return 0

    def _answer_to(self, target: bytes) -> bytes:
        path = target.partition(b"?")[0]
        return _READY.get(path.rpartition(b"/")[2], _REFUSAL)

    def _reply(self) -> None:
        if self._delay_s and self._answer is not _READY[b"token"]:
            asyncio.get_running_loop().call_later(
                self._delay_s, self._transport.write, self._answer
            )
        else:
            self._transport.write(self._answer)

    def _refuse(self) -> None:
        self._transport.write(_REFUSAL)
        self._transport.close()


async def _serve(delay_s: float, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(delay_s), "127.0.0.1", 0, ssl=tls, backlog=1024
    )
    port = server.sockets[0].getsockname()[1]
    print(f"listening on http{'s' if tls else ''}://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


def _main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tls", help="PEM file with certificate and key")
    arguments.add_argument("--delay-ms", type=float, default=0)
    chosen = arguments.parse_args()
    tls = None
    if chosen.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(chosen.tls)
    asyncio.run(_serve(chosen.delay_ms / 1000, tls))


if __name__ == "__main__":
    _main()
