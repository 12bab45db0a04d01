"""Every setting: its name, its default, its check; read from the environment and flags.

A flag beats the environment. Does not know what the settings are for.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "PRODUCTSEARCH_ENGINE_"

_KEY_BYTES_MIN = 32
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
LOG_LEVELS = ("debug", "info", "warning", "error")
FLAGS = ("listen", "data", "allow_private_urls", "workers", "embedding", "log_level")
"""Settings that can be flags; a connection string or a key's file would show in ``ps``."""

_NAMES = (*FLAGS, "database", "signing_key_file")


class SettingsError(Exception):
    """All that is wrong with the settings, a line each."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The engine's settings; secrets are left out of ``repr``."""

    host: str
    port: int
    data: Path
    database: str = field(repr=False)
    """A libpq connection string; empty for the embedded PostgreSQL in ``data``."""
    signing_key_file: Path
    allow_private_urls: bool
    workers: int
    """Calls worked on at the same time; each has a database connection."""
    embedding: str
    log_level: str


def load(environment: Mapping[str, str], flags: Mapping[str, str | None]) -> Settings:
    """Return the settings. Raises SettingsError with everything that is wrong."""
    values = {
        name: environment[PREFIX + name.upper()]
        for name in _NAMES
        if PREFIX + name.upper() in environment
    }
    values |= {name: value for name, value in flags.items() if value is not None}
    wrong = [
        f"{name}: no such setting"
        for name in environment
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in _NAMES
    ]
    host, port = _address(values.get("listen", "127.0.0.1:8190"), wrong)
    data = Path(values.get("data") or _default_data()).expanduser()
    key_file = values.get("signing_key_file")
    settings = Settings(
        host=host,
        port=port,
        data=data,
        database=values.get("database", ""),
        signing_key_file=Path(key_file).expanduser() if key_file else data / "signing.key",
        allow_private_urls=_boolean("allow_private_urls", values, wrong),
        workers=_workers(values, wrong),
        embedding=values.get("embedding", "classic"),
        log_level=_level(values, wrong),
    )
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


def signing_key(settings: Settings) -> bytes:
    """Return the key that signs tokens, made once if its file is in the data directory.

    Raises SettingsError if the file cannot be read or holds fewer than 32 bytes.
    """
    file = settings.signing_key_file
    if file.parent == settings.data and not file.exists():
        _make_key(file)
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"signing_key_file: {error.strerror}: {file}") from None
    if len(key) < _KEY_BYTES_MIN:
        raise SettingsError(f"signing_key_file: fewer than {_KEY_BYTES_MIN} bytes: {file}")
    return key


def _make_key(file: Path) -> None:
    # Complete under another name first: whoever links it second finds the first one's key.
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as made:
        made.write(secrets.token_hex(32))
        made.flush()
        os.fsync(made.fileno())
    try:
        os.link(new, file)
    except FileExistsError:
        pass
    finally:
        new.unlink()


def _default_data() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/productsearch-engine")
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "productsearch-engine"


def _address(text: str, wrong: list[str]) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
        if not 0 <= int(port) <= 65535:
            raise ValueError  # noqa: TRY301 - one message for all that is wrong with it
    except ValueError:
        wrong.append(f"listen: not address:port: {text!r}")
        return "", 0
    return host, int(port)


def _boolean(name: str, values: Mapping[str, str], wrong: list[str]) -> bool:
    text = values.get(name, "").lower()
    if text not in _TRUE + _FALSE:
        wrong.append(f"{name}: not true or false: {text!r}")
    return text in _TRUE


def _workers(values: Mapping[str, str], wrong: list[str]) -> int:
    text = values.get("workers", str(min(32, 2 * (os.cpu_count() or 1) + 2)))
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        wrong.append(f"workers: not a number from 1 to 256: {text!r}")
        return 1
    return int(text)


def _level(values: Mapping[str, str], wrong: list[str]) -> str:
    text = values.get("log_level", "info").lower()
    if text not in LOG_LEVELS:
        wrong.append(f"log_level: none of {', '.join(LOG_LEVELS)}: {text!r}")
    return text
