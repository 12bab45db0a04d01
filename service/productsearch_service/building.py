"""Builds a library from its settings: key pair, token, pacer, transport, client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from productsearch_service.libraries import Library
from productsearch_service.searches import Searches
from productsearch_service.upstream.client import UpstreamClient
from productsearch_service.upstream.credentials import (
    Credentials,
    FileCredentials,
    FixedCredentials,
    KeyPair,
)
from productsearch_service.upstream.exchange import Exchange
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.pacer import Pacer
from productsearch_service.upstream.rotation import Rotation
from productsearch_service.upstream.sealed import SealedText
from productsearch_service.upstream.token import TokenSource
from productsearch_service.upstream.transport import Transport

if TYPE_CHECKING:
    from productsearch_service.settings import LibrarySettings


def build_library(settings: LibrarySettings, replicas: int) -> Library:
    """Return a library that uses its part of the quota, as one of ``replicas``."""
    transport = Transport(settings.base_url, settings.ca_bundle)
    issuer = TokenIssuer(transport, _credentials(settings))
    tokens = TokenSource(issuer)
    exchange = Exchange(transport, tokens, Pacer(settings.quota_qps / replicas))
    rotation = Rotation(issuer, tokens, settings.credentials_poll_s)
    searches = Searches(
        ttl_s=settings.search_cache_ttl_s, entries_max=settings.search_cache_entries
    )
    return Library(UpstreamClient(exchange), searches, on_close=rotation.close)


def _credentials(settings: LibrarySettings) -> Credentials:
    if settings.credentials_dir is not None:
        return FileCredentials(settings.credentials_dir)
    if settings.api_key is None or settings.secret_key is None:
        raise AssertionError("settings were validated to hold a key pair")
    return FixedCredentials(
        KeyPair(
            SealedText(settings.api_key.get_secret_value()),
            SealedText(settings.secret_key.get_secret_value()),
        )
    )
