"""Values that settings have: addresses, URLs, paths, numbers, and whether they can be meant.

Knows their grammar. Does not know which setting has them.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationInfo,
)

from productsearch_service import limits

_log = logging.getLogger(__name__)

_PORT_MAX: Final = 65535
_PORT_DIGITS: Final = 5
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"[0-9.]+")
_HOST_CHARS_MAX: Final = 253
_LABEL_CHARS_MAX: Final = 63


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of ``host:port`` or ``[host]:port``; raise ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ValueError("must be host:port")
    if len(port) > _PORT_DIGITS or int(port) > _PORT_MAX:
        raise ValueError(f"the port must be 0 to {_PORT_MAX}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    if host == "localhost":
        return True
    address = ip_address(host)
    return address is not None and address.is_loopback


def ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that ``host`` is; None if it is a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    # A server at [::] sees IPv4 callers as ::ffff:10.0.0.7.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _address(value: str) -> str:
    host, _ = host_and_port(value)
    address, in_brackets = ip_address(host), value.startswith("[")
    if ":" in host and address is not None and not in_brackets:
        raise ValueError("must have an IPv6 address in brackets, as [::1]:50051")
    is_name = _NAME.fullmatch(host) and not _NUMBERS.fullmatch(host) and not in_brackets
    if address is None and not is_name:
        raise ValueError(
            "must be host:port, the host an IP address such as 127.0.0.1, or 0.0.0.0 for every"
            " address of this machine"
        )
    return value


def url_parts(value: str) -> SplitResult | None:
    """Return the parts of an http or https URL; None if it is none, or has a user in it."""
    if not value.isprintable() or " " in value:  # urlsplit leaves some of them out
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    named = parts.hostname is not None and _is_host(parts.hostname)
    sound = parts.scheme in ("http", "https") and named and port != 0 and not parts.fragment
    return parts if sound and parts.username is None and parts.password is None else None


def _is_host(name: str) -> bool:
    if ":" in name:  # in brackets, which urlsplit has looked at
        return True
    labels = name.removesuffix(".").split(".")
    sound = len(name) <= _HOST_CHARS_MAX and re.fullmatch(r"[\w.%-]+", name)
    return bool(sound) and all(0 < len(label) <= _LABEL_CHARS_MAX for label in labels)


def named(value: object) -> object:
    """Refuse the empty path: it would mean the folder that the service was started in."""
    if value == "":
        raise ValueError("is empty; leave it out, or give a path")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("has a character that no path has; give a path without it")
    return value


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - for pydantic
    return value


def _network(value: object) -> object:
    if isinstance(value, int):
        raise ValueError('must be text such as "10.0.0.0/8"')  # noqa: TRY004 - for pydantic
    return value


def _key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text:
        raise ValueError("is empty; give the key, or leave it out")
    if not text.isprintable() or " " in text:
        raise ValueError("has a blank or a line end in it, as no key has")
    return value


def _quota(value: float) -> float:
    if 0 < value < limits.QUOTA_QPS_MIN:
        raise ValueError(f"must be 0, or {limits.QUOTA_QPS_MIN:g} or more")
    return value


Number = Annotated[float, BeforeValidator(_no_truth)]
Seconds = Annotated[Number, Field(le=limits.SETTING_S_MAX)]
"""Longer ones mean never, and are more than timers take."""
Interval = Annotated[Seconds, Field(ge=limits.POLL_MIN_S)]
Quota = Annotated[Number, Field(ge=0, le=limits.SETTING_NUMBER_MAX), AfterValidator(_quota)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
Count = Annotated[Whole, Field(ge=1, le=limits.SETTING_NUMBER_MAX)]
PathGiven = Annotated[Path, BeforeValidator(named)]
Key = Annotated[SecretStr, AfterValidator(_key)]
Network = Annotated[IPvAnyNetwork, BeforeValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
OptionalAddress = Annotated[str, AfterValidator(lambda value: value and _address(value))]
LibraryName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


def warns_of_no_effect(advice: str) -> AfterValidator:
    """Return a validator that warns whoever still gives a setting that does nothing any more."""

    def warn(value: object, info: ValidationInfo) -> object:
        if value is not None:
            _log.warning("%s has no effect any more; %s", info.field_name, advice)
        return value

    return AfterValidator(warn)
