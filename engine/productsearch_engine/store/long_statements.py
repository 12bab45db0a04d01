"""Statements that may take longer than a call's.

Neither the server's limit of a statement nor that of our own connections (``database.bounded``) may
end them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection

from productsearch_engine.limits import STATEMENT_S


@contextmanager
def unbounded(connection: Connection[Any]) -> Iterator[None]:
    """Let statements take as long as they take; those of a killed process end in a second."""
    limit_s = getattr(connection, "limit_s", math.inf)
    connection.limit_s = math.inf  # type: ignore[attr-defined]
    try:
        connection.execute("set statement_timeout = 0")
        connection.execute("set client_connection_check_interval = '1s'")
        yield
    finally:
        connection.limit_s = limit_s  # type: ignore[attr-defined]
        if not connection.closed:
            connection.execute(f"set statement_timeout = '{STATEMENT_S}s'".encode())
            connection.execute("reset client_connection_check_interval")
