"""Libraries whose rows have buckets, as on a cluster: they do what other libraries do."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as any_
from psycopg_pool import ConnectionPool

from productsearch_engine.store import signs
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.libraries import Libraries, LibraryError
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.reembeddings import Reembeddings
from tests.engine import bulk_library
from tests.engine.cluster_session import session


def test_a_session_tells_the_same(
    plain_pool: ConnectionPool[Any], bucket_pool: ConnectionPool[Any]
) -> None:
    """All operations, on two libraries that differ in their tables alone."""
    plain, bucketed = session(plain_pool, "session"), session(bucket_pool, "session")
    assert len(plain) == len(bucketed)
    for expected, told in zip(plain, bucketed, strict=True):
        assert expected == told


@drawn(any_.binary(min_size=32, max_size=32), any_.integers(0, 15))
def test_each_sign_is_of_its_digests_bucket(digest: bytes, attempt: int) -> None:
    """Whoever knows a sign, of whichever attempt, knows the bucket: ten bits of the digest."""
    sign = signs.derive(digest, attempt)
    assert signs.bucket(sign) == signs.bucket_of(digest) == int.from_bytes(digest[:2], "big") >> 6
    assert -(2**63) <= sign < 2**63


def test_attempts_differ() -> None:
    """Each attempt gives another sign."""
    digest = hashlib.sha256(b"image").digest()
    assert 16 == len({signs.derive(digest, attempt) for attempt in range(16)})


def test_what_a_cluster_does_not_do(bucket_pool: ConnectionPool[Any]) -> None:
    """What hangs on triggers is refused with a sentence, and nothing is begun."""
    known = Libraries(bucket_pool)
    known.create("still", capacity=9, embedding="x", dimensions=16, api_key=None)
    with pytest.raises(LibraryError, match="keeps its embedding"):
        Reembeddings(bucket_pool).begin(known.named("still"), "y", 8)
    with pytest.raises(LibraryError, match="deletes have no lag"):
        LibrarySettings(bucket_pool).lag_deletes("still", 5)
    assert 0 == known.named("still").delete_lag_s
    assert Reembeddings(bucket_pool).other(known.named("still")) is None


def test_a_sign_that_is_not_of_its_digest(bucket_pool: ConnectionPool[Any]) -> None:
    """An import with a foreign cont_sign is refused as a whole batch: it could not be found."""
    library = bulk_library.library(bucket_pool)
    given = list(bulk_library.rows(5))
    given[3] = replace(given[3], sign=given[3].sign ^ (1 << 60))
    with pytest.raises(LibraryError, match="does not begin as the image's digest"):
        BulkRows(bucket_pool).load(library, given)
    assert set() == BulkRows(bucket_pool).stored(library, [each.digest for each in given])
