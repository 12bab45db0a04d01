"""Builds a library from its settings: the upstream's parts, the search cache, the audit stream."""

from __future__ import annotations

import logging

from productsearch_service.audit import Audit
from productsearch_service.counters import LibraryCounters
from productsearch_service.library.audited import AuditedLibrary
from productsearch_service.library.library import Library
from productsearch_service.library.search_cache import SearchCache
from productsearch_service.server.key_pairs import credentials_of
from productsearch_service.settings_library import LibrarySettings
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.rotation import Rotation
from productsearch_service.upstream.auth.token import TokenSource
from productsearch_service.upstream.client import UpstreamClient
from productsearch_service.upstream.exchange import Exchange, ExchangeLimits
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.pacing.pacer import Pacer

_log = logging.getLogger(__name__)


def build_library(settings: LibrarySettings, replicas: int, counters: LibraryCounters) -> Library:
    """Return a library that uses its part of the quota, as one of ``replicas``."""
    transport = Transport(
        settings.base_url,
        settings.ca_bundle,
        connect_s=settings.connect_timeout_s,
        send_stall_s=settings.send_stall_timeout_s,
        read_s=settings.read_timeout_s,
    )
    credentials = credentials_of(settings)
    issuer = TokenIssuer(settings.base_url, settings.ca_bundle, credentials, counters.token)
    where = f"library {counters.name} ({settings.base_url})"
    tokens = TokenSource(issuer, count=counters.token, where=where)
    place = str(settings.credentials_dir)
    rotation = Rotation(issuer, tokens, settings.credentials_poll_s, where, place)
    pacer = Pacer(settings.quota_qps / replicas, counters)
    bounds = ExchangeLimits(
        call_s=settings.call_timeout_s,
        attempts_max=settings.attempts_max,
        breaker_failures=settings.breaker_failures,
        breaker_open_s=settings.breaker_open_s,
        breaker_open_max_s=settings.breaker_open_max_s,
    )
    is_engine = settings.upstream == "engine"
    sends_trace = is_engine if settings.send_trace is None else settings.send_trace
    exchange = Exchange(transport, tokens, pacer, counters, bounds, where, sends_trace)
    search_cache = SearchCache(
        ttl_s=settings.search_cache_ttl_s, bytes_max=settings.search_cache_bytes
    )

    async def close() -> None:
        await search_cache.close()
        await rotation.stop()
        await tokens.close()
        issuer.close()
        pacer.close()
        await transport.close()

    return Library(
        UpstreamClient(exchange),
        search_cache,
        rotation.start,
        close,
        is_engine=is_engine,
    )


def audited(name: str, library: Library, audit: Audit | None) -> Library:
    """Return a library whose writes are recorded, if there is an audit stream."""
    if audit is None:
        return library
    return AuditedLibrary(
        client=library.client,
        search_cache=library.search_cache,
        start=library.start,
        close=library.close,
        is_engine=library.is_engine,
        name=name,
        plain=library,
        audit=audit,
    )
