"""What a libpq connection string says."""

from __future__ import annotations

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


def has_password(dsn: str) -> bool:
    """Return whether a connection string holds a password; one that cannot be read has none."""
    try:
        return bool(conninfo_to_dict(dsn).get("password"))
    except ProgrammingError:
        return False


def is_readable(dsn: str) -> bool:
    """Return whether libpq understands a connection string.

    True for one that is no text: the command line says that of each argument.
    """
    try:
        conninfo_to_dict(dsn)
    except ProgrammingError:
        return False
    except UnicodeEncodeError:
        pass
    return True
