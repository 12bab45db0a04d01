"""Every setting: its name, its default, its check.

Settings are read from the environment and from command-line flags; a flag wins. Does not know
what the settings are for and opens no file.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "PRODUCTSEARCH_ENGINE_"

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "json", "text")
FLAGS = ("listen", "data", "allow_private_urls", "workers", "decoders", "embedding", "log_level")
"""Settings that can be flags. The others would show secrets, or their place, in ``ps``."""

_PORT_MAX = 65535
_ONNX = "onnx:"
_COLLECTOR = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")

_NAMES = (
    *FLAGS,
    "database",
    "signing_key_file",
    "keep_images",
    "rerank",
    "log_format",
    "access_log_successes",
    "traces_endpoint",
)


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
    log_format: str
    """How lines of the log are written: ``json``, ``text``, or ``auto``: text at a terminal."""
    access_log_successes: float
    """The share of the successful calls that have a line, 0 to 1."""
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
        f"{name}: no such setting{_nearest(name)}"
        for name in environment
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in _NAMES
    ]
    host, port = _address(values.get("listen", "127.0.0.1:8190"), wrong)
    data = Path(values.get("data") or default_data()).expanduser()
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
        log_level=_one_of("log_level", values, wrong, "info", LOG_LEVELS),
        log_format=_one_of("log_format", values, wrong, "auto", LOG_FORMATS),
        access_log_successes=_share("access_log_successes", values, wrong),
        traces_endpoint=_collector(values.get("traces_endpoint", ""), wrong),
    )
    if wrong:
        raise SettingsError("\n".join(line + _place(line, environment, flags) for line in wrong))
    return settings


def _place(line: str, environment: Mapping[str, str], flags: Mapping[str, str | None]) -> str:
    """Return the flag, or else the variable, of the setting that begins a line."""
    name = line.partition(":")[0]
    if flags.get(name) is not None:
        return f" (--{name.replace('_', '-')})"
    variable = PREFIX + name.upper()
    return f" ({variable})" if variable in environment else ""


def _nearest(variable: str) -> str:
    near = difflib.get_close_matches(variable, [PREFIX + name.upper() for name in _NAMES], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _embedding(name: str) -> str:
    """Return the name with an absolute path: libraries store it, and it is read anywhere."""
    if not name.startswith(_ONNX):
        return name
    return _ONNX + str(Path(name.removeprefix(_ONNX)).expanduser().absolute())


def default_data() -> Path:
    """Return the data directory that is used if none is named."""
    if os.geteuid() == 0:
        return Path("/var/lib/productsearch-engine")
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "productsearch-engine"


def _address(text: str, wrong: list[str]) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        wrong.append(f"listen: must be an IP address and a port, as 127.0.0.1:8190, not {text!r}")
        return "", 0
    if address.version == 6 and host == bare:
        wrong.append(f"listen: an IPv6 address stands in brackets, as [::1]:8190, not {text!r}")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > _PORT_MAX:
        wrong.append(f"listen: the port must be 0 to {_PORT_MAX}, not {port!r}")
        return "", 0
    return bare, int(port)


def _boolean(name: str, values: Mapping[str, str], wrong: list[str]) -> bool:
    text = values.get(name, "").lower()
    if text not in _TRUE + _FALSE:
        wrong.append(f"{name}: must be true or false, not {text!r}")
    return text in _TRUE


def _number(name: str, values: Mapping[str, str], wrong: list[str], default: int, most: int) -> int:
    text = values.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        wrong.append(f"{name}: must be a whole number from 1 to {most}, not {text!r}")
        return 1
    return int(text)


def _collector(url: str, wrong: list[str]) -> str:
    if url and not _COLLECTOR.fullmatch(url):
        wrong.append("traces_endpoint: must be http://host:port/v1/traces, without user and query")
    return url


def _one_of(
    name: str,
    values: Mapping[str, str],
    wrong: list[str],
    default: str,
    choices: tuple[str, ...],
) -> str:
    text = values.get(name, default).lower()
    if text not in choices:
        wrong.append(f"{name}: must be one of {', '.join(choices)}, not {text!r}")
    return text


def _share(name: str, values: Mapping[str, str], wrong: list[str]) -> float:
    text = values.get(name, "1")
    if not re.fullmatch(r"0|1|1\.0*|0?\.[0-9]+", text):
        wrong.append(f"{name}: must be a number from 0 to 1, not {text!r}")
        return 1.0
    return float(text)
