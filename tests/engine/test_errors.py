"""Every exception that ends a call has its error of the contract."""

from __future__ import annotations

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.error_mapping import CODES, api_error
from productsearch_engine.images.errors import ImageError
from productsearch_engine.store.images import DuplicateError


def test_every_reason_to_refuse_an_image_has_a_code() -> None:
    """No subclass of ImageError is left to be answered as a fault of the engine."""
    assert {*ImageError.__subclasses__()} <= CODES.keys()


def test_every_code_has_a_message() -> None:
    """All numbers in ``codes`` have the contract's text."""
    numbers = {value for value in vars(codes).values() if isinstance(value, int)}
    assert numbers == codes.MESSAGES.keys()


def test_a_duplicate_carries_the_first_sign() -> None:
    """The answer to a duplicate names the stored image."""
    answer = api_error(DuplicateError(1), 7).answer(7)
    assert (216681, "0,1") == (answer["error_code"], answer["cont_sign"])


def test_an_error_of_the_contract_stays_what_it_is() -> None:
    """An ApiError passes unchanged."""
    error = ApiError(codes.PARAM_INVALID)
    assert error is api_error(error, 7)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PoolTimeout("host=secret"), 2),
        (psycopg.OperationalError("host=secret"), 2),
        (psycopg.Rollback(), 2),
        (psycopg.DataError("secret"), 282000),
        (ValueError("secret"), 282000),
    ],
)
def test_faults_are_answered_without_their_text(error: Exception, code: int) -> None:
    """A fault of the database is retried by callers; any other fault is an internal error."""
    answer = api_error(error, 7).answer(7)
    assert code == answer["error_code"]
    assert "secret" not in str(answer)
