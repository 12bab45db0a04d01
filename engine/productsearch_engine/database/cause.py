"""Why a database cannot be used, in words that hold no connection string.

psycopg's own text can repeat what it was given, and with it a password. Knows PostgreSQL's and
libpq's words. Does not know who asks.
"""

from __future__ import annotations

import re

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolTimeout

from productsearch_engine.database.dsn import is_readable

_BY_STATE = {
    "28P01": "the password is wrong: correct PGPASSFILE, PGPASSWORD, or DATABASE",
    "28000": "the server's pg_hba.conf does not let this user in from here",
    "3D000": "there is no such database: create it, or correct dbname in DATABASE",
    "53300": "no connection is left: raise max_connections, or lower WORKERS",
    "57P01": "the server ended the connection: it is being stopped, or somebody ended the session",
    "57P02": "the server ended the connection: a process of it crashed or was killed",
    "40P01": "a statement and another one waited for each other, so one was ended: try again",
    "53200": "the server has no memory left for the statement: see its memory and its settings",
    "55P03": "a table is in use by somebody else: try again",
    "57P03": "the server is starting up or shutting down: try again",
    "42501": "the user may not do this; for the extension a superuser runs CREATE EXTENSION vector",
    "0A000": "the server has no extension vector: install pgvector 0.8 there",
    "58P01": "the server has no extension vector: install pgvector 0.8 there",
    "25006": "the server takes no changes: it is a standby, or read only",
    "53100": "the server's disk is full",
    "57014": "a statement took longer than it may: the database is slow, or the user's"
    " statement_timeout short",
    "42P07": "another program's tables are in the way: give the engine a database of its own",
    "3F000": "no schema of its search_path exists: correct options in DATABASE, or the user's own",
}
_OPTIONS = "the server does not take what options in DATABASE ask for: correct them"
_SESSION = "the server is not what target_session_attrs in DATABASE asks for: ask for read-write"
_BY_WORDS = {
    "Connection refused": "nothing accepts connections there: start it, or correct DATABASE",
    "No such file or directory": "no server has its socket there: start it, or correct DATABASE",
    "could not translate host name": "the host's name has no address: correct DATABASE",
    "failed to resolve host": "the host's name has no address: correct DATABASE",
    "timeout": "it does not answer in time: look at the server, and at firewalls on the way",
    "not answer": "it does not answer in time: look at the server, and at firewalls on the way",
    "password authentication failed": _BY_STATE["28P01"],
    "no password supplied": _BY_STATE["28P01"],
    "pg_hba.conf": _BY_STATE["28000"],
    "not currently accepting connections": "the database takes no connections: alter database ..."
    " allow_connections true",
    "configuration parameter": _OPTIONS,
    "invalid value for parameter": _OPTIONS,
    "requires a value": _OPTIONS,
    "hot standby mode": _SESSION,
    "session is not read-only": _SESSION,
    "session is read-only": _BY_STATE["25006"],
    "port numbers to": "DATABASE has more hosts or ports than the other: one port, or one for each",
    "GSSAPI": "GSSAPI is not there: leave gssencmode out of DATABASE, or log in to Kerberos",
    "does not support SSL": "the server has no TLS: correct sslmode in DATABASE, or give it TLS",
    "does not exist": "the user or the database does not exist: correct DATABASE",
    "too many clients": _BY_STATE["53300"],
    "too many connections": _BY_STATE["53300"],  # of one role, or for one database
    "connection slots are reserved": _BY_STATE["53300"],
    "starting up": _BY_STATE["57P03"],
    "definition of service": "pg_service.conf has no such service: correct service in DATABASE",
    "invalid port number": "the port must be 1 to 65535: correct port in DATABASE, or PGPORT",
    'connection option "port"': "the port must be 1 to 65535: correct port in DATABASE, or PGPORT",
    "certificate": "its TLS certificate is not accepted: see sslmode and sslrootcert in DATABASE",
}

_INVALID = re.compile(r"invalid (\w+) value")
_MISREAD = (
    "DATABASE cannot be read as it is meant: in a URL the characters / @ ? # of user and password"
    " are written %2F %40 %3F %23"
)


def cause_of(error: psycopg.Error, dsn: str, named_by: str = "DATABASE") -> str:
    """Return where the database is, why it cannot be used, and what to do.

    named_by: the setting or option that the connection string was given by.
    """
    return _cause(error, dsn).replace("DATABASE", named_by)


def _cause(error: psycopg.Error, dsn: str) -> str:
    if not is_readable(dsn):
        return "DATABASE is no libpq connection string (host=... dbname=... user=...)"
    if _is_misread(dsn):
        return _MISREAD
    state = error.sqlstate or ""
    if state in _BY_STATE:
        return f"{place_of(dsn)}: {_BY_STATE[state]}"
    return f"{place_of(dsn)}: {_by_words(str(error), state)}"


def _by_words(text: str, state: str) -> str:
    """Return the cause that libpq's words tell, which have no state, or else the state."""
    if state:
        return f"it answered with SQLSTATE {state}; the server's log says more"
    known = next((cause for words, cause in _BY_WORDS.items() if words in text), "")
    if known:
        return known
    if invalid := _INVALID.search(text):
        return f"libpq knows no such {invalid[1]}: correct {invalid[1]} in DATABASE"
    return "the connection failed or was lost: see whether a server runs there"


def place_of(dsn: str) -> str:
    """Return host, port and name of a database; nothing else of its connection string.

    What the string leaves out is libpq's own choice, of which PGHOST and the like have a say.
    """
    chosen = {
        option.keyword.decode(): option.val.decode()
        for option in pq.Conninfo.get_defaults()
        if option.val
    }
    given = chosen | conninfo_to_dict(dsn)
    if _is_misread(dsn):
        return "a place that cannot be read"
    host = given.get("hostaddr") or given.get("host") or "this machine"
    place = f"{host} port {given.get('port') or 5432} database {given.get('dbname') or 'default'}"
    return f"service {given['service']}" if given.get("service") else place


def _is_misread(dsn: str) -> bool:
    """Return whether libpq takes part of a password for a host, a port or a database's name."""
    given = conninfo_to_dict(dsn)
    parts = (str(given.get(name) or "") for name in ("host", "port", "dbname"))
    return "://" in dsn and any("@" in part for part in parts)


def words_of(error: Exception) -> str:
    """Return why a statement failed, for a line of the log that does not know the place.

    ``error`` is psycopg's, or the pool's that no connection was free.
    """
    if isinstance(error, PoolTimeout):
        return "no connection was free in time: the database is slow, or WORKERS too many for it"
    state = getattr(error, "sqlstate", None) or ""
    if state in _BY_STATE:
        return _BY_STATE[state]
    return _by_words(str(error), state)
