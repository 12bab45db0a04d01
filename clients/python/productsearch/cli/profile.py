"""Where the service is and who calls it: flags before the environment before a profile.

Profiles are tables of ``config.toml``. A token is never a flag: the command line of a process can
be read by others.
"""

from __future__ import annotations

import os
import tomllib
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from productsearch.cli.failures import usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX: Final = "PRODUCTSEARCH_CLI_"
DEFAULT_NAME: Final = "default"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """All that a command knows of the service. Paths are as the user wrote them."""

    name: str = DEFAULT_NAME
    target: str = "127.0.0.1:50051"
    library: str = ""
    tls: bool | None = None
    ca: str = ""
    cert: str = ""
    key: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    quota_qps: float = 0.0
    quota_per_day: int = 0
    price_per_1000: float = 0.0
    currency: str = ""

    @property
    def speaks_tls(self) -> bool:
        """Whether calls are made with TLS: where nothing says so, secrets and files turn it on."""
        if self.tls is not None:
            return self.tls
        return any((self.ca, self.cert, self.key, self.token, self.token_file))

    def bearer(self) -> str:
        """Return the token, or "". Raises Failure for a file that cannot be read."""
        if self.token or not self.token_file:
            return self.token
        try:
            return Path(self.token_file).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as wrong:
            step = "name the file that the token is in: --token-file, or token_file of the profile"
            raise usage(f"token_file {self.token_file}: {_why(wrong)}", step) from None


in_use: Final[ContextVar[Profile]] = ContextVar("in_use", default=Profile())  # noqa: B039 - frozen
"""What the calls of this command are made with: an error tells what helps by it."""
KEYS: Final = {entry.name: entry.type for entry in fields(Profile) if entry.name != "name"}
"""What a profile can set -> its type, as written in the class."""


def config_file() -> Path:
    """Return the path of the configuration file, which need not exist."""
    if named := os.environ.get(f"{PREFIX}CONFIG"):
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("productsearch", appauthor=False) / "config.toml"


def read_config(file: Path) -> dict[str, Any]:
    """Return the configuration, empty without a file. Raises Failure for one that is wrong."""
    try:
        config = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise usage(f"{file}: {_why(wrong)}", "mend the file, or remove it") from None
    profiles, chosen = config.get("profiles", {}), config.get("profile", DEFAULT_NAME)
    if not isinstance(chosen, str):
        raise usage(f"{file}: profile is {chosen!r}; use the name of a profile")
    if not isinstance(profiles, dict):
        raise usage(f"{file}: profiles is {profiles!r}; use a table [profiles.NAME]")
    for name, profile in profiles.items():
        if not isinstance(profile, dict):
            raise usage(f"{file}: profiles.{name} is {profile!r}; use a table [profiles.{name}]")
        for key, value in profile.items():
            checked(key, value, f"{file}: profiles.{name}.")
    return config


def names(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the profiles."""
    return sorted(config.get("profiles", {}))


def checked(key: str, value: object, where: str = "") -> Any:
    """Return a profile's value in its type; text is converted. Raises Failure."""
    kind = KEYS.get(key)
    if kind is None:
        raise usage(f"{where}{key} is no setting", f"use one of {', '.join(KEYS)}")
    wanted, read = _KINDS[str(kind)]
    made = read(value)
    if made is None:
        told = "(not shown)" if key == "token" else repr(value)
        raise usage(f"{where}{key} is {told}; use {wanted}")
    return made


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    named = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    return named.get(str(value).lower())


def _number(kind: type[int] | type[float]) -> Callable[[object], float | None]:
    def read(value: object) -> float | None:
        try:
            number = kind(str(value))
        except ValueError:
            return None
        return number if 0 <= number < float("inf") else None

    return read


_KINDS: Final[dict[str, tuple[str, Callable[[object], Any]]]] = {
    "str": ("text", lambda value: value if isinstance(value, str) else None),
    "int": ("a whole number", _number(int)),
    "float": ("a number of 0 or more", _number(float)),
    "bool | None": ("true or false", _boolean),
}


def resolve(flags: Mapping[str, Any]) -> Profile:
    """Return the profile that flags (those not None), environment and file make together."""
    config = read_config(config_file())
    name = flags.get("profile") or os.environ.get(f"{PREFIX}PROFILE") or config.get("profile")
    chosen = name or DEFAULT_NAME
    if name and chosen not in names(config):
        raise usage(
            f"there is no profile {chosen!r} in {config_file()}",
            f"productsearch config set target HOST:PORT --profile {chosen}",
        )
    values: dict[str, Any] = dict(config.get("profiles", {}).get(chosen, {}))
    for key in KEYS:
        if (text := os.environ.get(f"{PREFIX}{key.upper()}")) is not None:
            values[key] = checked(key, text, PREFIX)
        if flags.get(key) is not None:
            values[key] = flags[key]
    return Profile(name=chosen, **values)


def _why(wrong: Exception) -> str:
    return wrong.strerror or str(wrong) if isinstance(wrong, OSError) else str(wrong)
