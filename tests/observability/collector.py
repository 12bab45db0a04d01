"""A collector that takes OTLP over HTTP and keeps what it got."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.lifecycle.asking import until


class Refusing:
    """A context manager: a server that answers 404; yields the URL for spans, at ``path``."""

    def __init__(self, path: str = "/v1/traces") -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
        self._url = f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self._url

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Refuses(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Seen:
    """A span: ids as hexadecimal digits, ``parent`` empty at the root; times in nanoseconds."""

    service: str
    name: str
    trace: str
    own: str
    parent: str
    kind: int
    attributes: dict[str, str]
    began_ns: int
    ended_ns: int
    failed: bool


class Collector:
    """A context manager; ``url`` is where spans are sent to."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1/traces"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Seen]:
        """Return everything that came, in the order of its coming."""
        found = []
        for content in list(self.raw):
            for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
                told = {each.key: each.value.string_value for each in resource.resource.attributes}
                for scope in resource.scope_spans:
                    found += [_seen(span, told["service.name"]) for span in scope.spans]
        return found

    def wait_for(self, *names: str) -> dict[str, Seen]:
        """Return spans by name once there is one of each of these names."""
        until(lambda: {*names} <= {span.name for span in self.spans()}, f"spans {names}")
        return {span.name: span for span in self.spans()}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        raw = self.raw

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self._content()
                if self.headers.get("Content-Encoding") == "gzip":
                    content = gzip.decompress(content)
                raw.append(content)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def _content(self) -> bytes:
                if "Content-Length" in self.headers:
                    return self.rfile.read(int(self.headers["Content-Length"]))
                content = b""  # Envoy sends chunks
                while length := int(self.rfile.readline(), 16):
                    content += self.rfile.read(length)
                    self.rfile.readline()
                self.rfile.readline()
                return content

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler


def _seen(span: Any, service: str) -> Seen:
    def text(value: Any) -> str:
        kind = value.WhichOneof("value")
        return str(getattr(value, kind)) if kind else ""

    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        {each.key: text(each.value) for each in span.attributes},
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
    )
