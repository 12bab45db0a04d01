"""The memory that a replica takes in the worst case: everything at its bound in one moment.

docs/operating.md has the same table with its reasons; tests/laws compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from productsearch_service import limits
from productsearch_service.settings_library import LibrarySettings

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_IDLE_BYTES: Final = 70 * _MIB
_CONNECTION_BYTES: Final = 20 * _KIB
_CALL_BYTES: Final = 24 * _KIB
_WAITING_BYTES: Final = 128 * _KIB
_RECEIVED_BYTES: Final = limits.RECEIVE_BYTES_MAX * 4 // 3
"""A message and the pieces that it comes in."""
_FORMS: Final = 2.4
"""Of a request's bytes: request, form value and what is sent, while one becomes the other."""
_ANSWER_BYTES: Final = 2 * 3_200_000
"""Of a batch of malformed signatures, in Python and in gRPC."""
_FIT_PROCESS_BYTES: Final = 50 * _MIB


def worst_mib(
    connections_max: int = limits.CONNECTIONS_MAX,
    search_cache_bytes: int = limits.SEARCH_CACHE_BYTES,
) -> dict[str, int]:
    """Return the MiB of each kind; ``search_cache_bytes``: of all libraries together."""
    full = limits.BYTES_IN_FLIGHT_MAX // limits.LARGE_BYTES
    kinds: dict[str, float] = {
        "the process, idle": _IDLE_BYTES,
        "kept free": limits.FREE_BYTES_KEPT,
        "connections": connections_max * _CONNECTION_BYTES,
        "health and reflection": limits.BYSTANDERS_MAX * _CALL_BYTES
        + limits.BYSTANDERS_RECEIVING_MAX * _RECEIVED_BYTES,
        "not looked at": limits.PENDING_MAX * _CALL_BYTES,
        "waiting": limits.WAITING_MAX * _WAITING_BYTES,
        "receiving": limits.RECEIVING_MAX * _RECEIVED_BYTES,
        "in flight": limits.BYTES_IN_FLIGHT_MAX * _FORMS,
        "bulk": limits.BULK_BYTES_MAX * _FORMS + limits.BULK_STREAMS_MAX * _RECEIVED_BYTES,
        "answers": (limits.RPCS_IN_FLIGHT_MAX - full) * _ANSWER_BYTES,
        "fit": limits.FIT_AT_ONCE * _FIT_PROCESS_BYTES + limits.FIT_LARGE_MEMORY_BYTES,
        "search caches": search_cache_bytes,
    }
    return {kind: round(held / _MIB) for kind, held in kinds.items()}


def search_caches_bytes(libraries: Iterable[LibrarySettings]) -> int:
    """Return what the search caches that are on may hold together."""
    return sum(each.search_cache_bytes for each in libraries if each.search_cache_ttl_s)
