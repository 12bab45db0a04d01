"""Every setting: its name, its default, its check.

Settings are read from the environment and from command-line flags; a flag wins. Does not know
what the settings are for and opens no file.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "PRODUCTSEARCH_ENGINE_"

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
LOG_LEVELS = ("debug", "info", "warning", "error")
FLAGS = ("listen", "data", "allow_private_urls", "workers", "decoders", "embedding", "log_level")
"""Settings that can be flags. The others would show secrets, or their place, in ``ps``."""

_ONNX = "onnx:"
_COLLECTOR = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")

_NAMES = (*FLAGS, "database", "signing_key_file", "keep_images", "rerank", "traces_endpoint")


class SettingsError(Exception):
    """The settings are wrong; the text has one line for each fault."""


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
    decoders: int
    """Processes that decode and embed ordinary images; one more is for large ones."""
    embedding: str
    """The embedding of new libraries."""
    keep_images: bool
    """Whether new libraries keep a small copy of each image."""
    rerank: bool
    """Whether searches that do not say get a second look."""
    log_level: str
    traces_endpoint: str
    """Where spans of calls go: the URL of a collector, by OTLP over HTTP; empty: nowhere."""


def load(environment: Mapping[str, str], flags: Mapping[str, str | None]) -> Settings:
    """Return the settings. Raises SettingsError with every fault."""
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
    cores = os.cpu_count() or 1
    settings = Settings(
        host=host,
        port=port,
        data=data,
        database=values.get("database", ""),
        signing_key_file=Path(key_file).expanduser() if key_file else data / "signing.key",
        allow_private_urls=_boolean("allow_private_urls", values, wrong),
        workers=_number("workers", values, wrong, min(32, 2 * cores + 2), 256),
        decoders=_number("decoders", values, wrong, min(8, cores), 64),
        embedding=_embedding(values.get("embedding", "compact")),
        keep_images=_boolean("keep_images", {"keep_images": "true"} | values, wrong),
        rerank=_boolean("rerank", values, wrong),
        log_level=_level(values, wrong),
        traces_endpoint=_collector(values.get("traces_endpoint", ""), wrong),
    )
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


def _embedding(name: str) -> str:
    """Return the name with an absolute path: libraries store it, and it is read anywhere."""
    if not name.startswith(_ONNX):
        return name
    return _ONNX + str(Path(name.removeprefix(_ONNX)).expanduser().absolute())


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


def _number(name: str, values: Mapping[str, str], wrong: list[str], default: int, most: int) -> int:
    text = values.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        wrong.append(f"{name}: not a number from 1 to {most}: {text!r}")
        return 1
    return int(text)


def _collector(url: str, wrong: list[str]) -> str:
    if url and not _COLLECTOR.fullmatch(url):
        wrong.append("traces_endpoint: not http://host:port/v1/traces, without user and query")
    return url


def _level(values: Mapping[str, str], wrong: list[str]) -> str:
    text = values.get("log_level", "info").lower()
    if text not in LOG_LEVELS:
        wrong.append(f"log_level: none of {', '.join(LOG_LEVELS)}: {text!r}")
    return text
