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
_COLLECTOR = re.compile(
    r"https?://(?:[^/?#@:\[\]\s]+|\[[0-9a-fA-F:.]+\])(?::([0-9]{1,5}))?(?:/[^?#@\s]*)?"
)

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

_VARIABLES = {PREFIX + name.upper() for name in _NAMES}


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
    wrong = [f"{name}: is not UTF-8" for name, value in values.items() if not is_text(value)]
    wrong += [
        f"{name}: no such setting{_nearest(name)}"
        for name in environment
        if name.upper().startswith(PREFIX) and name not in _VARIABLES
    ]
    host, port = _address(values.get("listen", "127.0.0.1:8190"), wrong)
    data = _path("data", values, wrong) or default_data()
    key_file = _path("signing_key_file", values, wrong)
    cores = os.cpu_count() or 1
    settings = Settings(
        host=host,
        port=port,
        data=data,
        database=values.get("database", ""),
        signing_key_file=key_file or data / "signing.key",
        allow_private_urls=_boolean("allow_private_urls", values, wrong),
        workers=_number("workers", values, wrong, min(32, 2 * cores + 2), 256),
        decoders=_number("decoders", values, wrong, min(8, cores), 64),
        embedding=_embedding(values.get("embedding", "compact"), wrong),
        keep_images=_boolean("keep_images", {"keep_images": "true"} | values, wrong),
        rerank=_boolean("rerank", values, wrong),
        log_level=_one_of("log_level", values, wrong, "info", LOG_LEVELS),
        log_format=_one_of("log_format", values, wrong, "auto", LOG_FORMATS),
        access_log_successes=_share("access_log_successes", values, wrong),
        traces_endpoint=_collector(values.get("traces_endpoint", ""), wrong),
    )
    if wrong:
        raise placed(SettingsError("\n".join(wrong)), environment, flags)
    return settings


def is_text(value: str) -> bool:
    """Return whether an argument or a variable of the environment was UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def placed(
    error: SettingsError, environment: Mapping[str, str], flags: Mapping[str, str | None]
) -> SettingsError:
    """Return the error with the flag or the variable of the setting that each line begins with."""
    lines = str(error).splitlines()
    return SettingsError("\n".join(line + _place(line, environment, flags) for line in lines))


def _place(line: str, environment: Mapping[str, str], flags: Mapping[str, str | None]) -> str:
    """Return the flag, or else the variable, of the setting that begins a line."""
    name = line.partition(":")[0]
    if flags.get(name) is not None:
        return f" (--{name.replace('_', '-')})"
    variable = PREFIX + name.upper()
    return f" ({variable})" if variable in environment else ""


def _nearest(variable: str) -> str:
    # What all names begin with makes none of them more alike.
    near = difflib.get_close_matches(variable.upper().removeprefix(PREFIX).lower(), _NAMES, n=1)
    return f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""


def _path(name: str, values: Mapping[str, str], wrong: list[str]) -> Path | None:
    """Return the path that a setting gives; None: it gives none."""
    text = values.get(name, "")
    if not text:
        return None
    if "\0" in text or not text.isprintable():
        wrong.append(f"{name}: has a character that no path should have; give one without it")
        return None
    try:
        return Path(text).expanduser()
    except RuntimeError:
        wrong.append(f"{name}: {text}: there is no such user; give a path that begins with /")
        return None


def _embedding(name: str, wrong: list[str]) -> str:
    """Return the name with an absolute path: libraries store it, and it is read anywhere."""
    if not name.startswith(_ONNX):
        return name
    if name == _ONNX:
        wrong.append("embedding: names no file: must be onnx:PATH")
        return name
    path = _path("embedding", {"embedding": name.removeprefix(_ONNX)}, wrong)
    return _ONNX + str(path.absolute()) if path else name


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
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        wrong.append(f"{name}: must be a whole number from 1 to {most}, not {text[:21]!r}")
        return 1
    return int(text)


def _collector(url: str, wrong: list[str]) -> str:
    found = _COLLECTOR.fullmatch(url)
    if url and not (found and 1 <= int(found[1] or 1) <= _PORT_MAX):
        wrong.append(
            "traces_endpoint: must be http://host:port/v1/traces, the port 1 to 65535, without user"
            " and query"
        )
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
