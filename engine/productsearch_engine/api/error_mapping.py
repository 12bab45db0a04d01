"""Gives every exception that a call can end with its error of the contract.

This is the one place where exceptions of ``images``, ``workers``, ``store`` and the database
driver become error codes. A fault of the engine is logged with its ``log_id``; its text never
reaches the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import psycopg

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.database.cause import words_of
from productsearch_engine.images import errors
from productsearch_engine.store import signs
from productsearch_engine.store.images import DuplicateError, LibraryFullError
from productsearch_engine.workers.pool import WorkersUnavailableError

_log = logging.getLogger(__name__)

CODES: Mapping[type[Exception], int] = {
    errors.ImageEmptyError: codes.IMAGE_EMPTY,
    errors.ImageUnreadableError: codes.IMAGE_FORMAT,
    errors.ImageSizeError: codes.IMAGE_SIZE,
    errors.UrlIllegalError: codes.URL_ILLEGAL,
    errors.UrlTimeoutError: codes.URL_TIMEOUT,
    errors.UrlRefusedError: codes.URL_REFUSED,
    errors.NothingToSpareError: codes.UNAVAILABLE,
    LibraryFullError: codes.LIBRARY_FULL,
    DuplicateError: codes.ITEM_EXISTS,
    WorkersUnavailableError: codes.UNAVAILABLE,
}
"""The refusals of a call. Every other exception but ApiError is a fault of the engine."""

_PASSING = (
    psycopg.OperationalError,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby: the connection is older than a failover
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.SnapshotTooOld,
    psycopg.Rollback,  # of a transaction whose connection was gone by then
)
"""What a database says of itself and not of a statement; it may be over in a moment."""


def api_error(error: Exception, log_id: int) -> ApiError:
    """Return the contract's error for ``error``; log it if it is a fault of the engine."""
    if isinstance(error, ApiError):
        return error
    code = CODES.get(type(error))
    if code is None:
        return _fault(error, log_id)
    if isinstance(error, errors.ImageError) and error.failure and error.failure.told:
        return ApiError(code, f"{codes.MESSAGES[code]}: {error.failure.told}")
    cont_sign = signs.to_text(error.sign) if isinstance(error, DuplicateError) else None
    return ApiError(code, cont_sign=cont_sign)


def _fault(error: Exception, log_id: int) -> ApiError:
    if isinstance(error, psycopg.errors.DiskFull):
        _log.error("log_id=%d database: the disk is full", log_id)
        return codes.disk_full()
    # Callers retry code 2. The text itself is not logged: it can hold the connection string.
    if isinstance(error, _PASSING):
        _log.error("log_id=%d database: %s", log_id, words_of(error))
        return ApiError(codes.UNAVAILABLE)
    _log.error("log_id=%d internal error", log_id, exc_info=error)
    return ApiError(codes.INTERNAL)
