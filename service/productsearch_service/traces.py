"""W3C trace context, and what a recorded RPC remembers of the times of its parts.

Spans are made of it once the RPC has ended (``observability.traces``): a part costs its RPC two
times and an entry of a list. Knows neither gRPC nor OpenTelemetry.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from productsearch_service import limits

HEADER: Final = "traceparent"
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_VERSION: Final = "00"
_NO_VERSION: Final = "ff"
_SAMPLED: Final = 1
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class Part(NamedTuple):
    """A part of an RPC: seconds of the monotonic clock; ``outcome`` of a request, else empty."""

    name: str
    began_s: float
    ended_s: float
    span_id: int
    """0: nobody was told, so any will do."""
    outcome: str = ""


class Trace:
    """One recorded RPC in its trace; it keeps its parts up to a bound."""

    __slots__ = (
        "_export",
        "attributes",
        "began_at_s",
        "began_s",
        "code",
        "ended_s",
        "left_out",
        "method",
        "parent_id",
        "parts",
        "span_id",
        "trace_id",
    )

    def __init__(self, trace_id: str, parent_id: int, export: Callable[[Trace], None]) -> None:
        """``trace_id``: 32 hexadecimal digits. ``parent_id``: the caller's span; 0: none."""
        self.trace_id, self.parent_id = trace_id, parent_id
        self.span_id = new_span()
        self.began_s = self.ended_s = time.monotonic()
        self.began_at_s = time.time()
        self.parts: list[Part] = []
        self.left_out = 0
        """Parts over the bound."""
        self.method = self.code = ""
        self.attributes: Mapping[str, str | int] = {}
        self._export = export

    def part(self, name: str, began_s: float, *, span_id: int = 0, outcome: str = "") -> None:
        """Keep a part that ends now."""
        if len(self.parts) >= limits.TRACE_PARTS_MAX:
            self.left_out += 1
            return
        self.parts.append(Part(name, began_s, time.monotonic(), span_id, outcome))

    def end(
        self, method: str, code: str, attributes: Mapping[str, str | int], ended_s: float
    ) -> None:
        """Export the RPC, which ended then by the monotonic clock."""
        self.ended_s = ended_s
        self.method, self.code, self.attributes = method, code, attributes
        self._export(self)


@dataclass(frozen=True, slots=True)
class Tracer:
    """Begins traces. The caller says whether its trace is recorded.

    Of RPCs without a trace the share ``share`` (0 to 1) is recorded; ``export`` gets each one.
    """

    share: float
    export: Callable[[Trace], None]

    def begin(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> tuple[str, Trace | None]:
        """Return the id of an RPC's trace, by its metadata, and the trace if it is recorded.

        The id alone joins lines, and costs an RPC that is not recorded nothing else.
        """
        for name, value in metadata or ():
            if name == HEADER and isinstance(value, str) and (found := _FORM.fullmatch(value)):
                version, trace_id, parent_id, flags, more = found.groups()
                known = version != _NO_VERSION and not (version == _VERSION and more)
                if known and trace_id != _NO_TRACE and parent_id != _NO_SPAN:
                    recorded = int(flags, 16) & _SAMPLED
                    return trace_id, (
                        Trace(trace_id, int(parent_id, 16), self.export) if recorded else None
                    )
        trace_id = f"{random.getrandbits(128) or 1:032x}"
        if random.random() < self.share:  # noqa: S311 - no secret
            return trace_id, Trace(trace_id, 0, self.export)
        return trace_id, None


def new_span() -> int:
    """Return the id of a new span."""
    return random.getrandbits(64) or 1


def header(trace_id: str, span_id: int) -> str:
    """Return the header that makes a span the parent of what follows; 0: it is not recorded."""
    return f"{_VERSION}-{trace_id}-{span_id or new_span():016x}-{span_id != 0:02x}"
