"""Addresses of services: which can be one, and why one could not be reached, in plain words."""

from __future__ import annotations

import re
from typing import Final

from productsearch.cli.failures import usage
from productsearch.cli.profile import Profile

_HOST_AND_PORT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s/:\[\]]+):([0-9]{1,5})")
_SCHEMES: Final = ("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:", "xds:")
"""Of gRPC's own names, which are left to it."""
_PORT_MAX: Final = 65535
_CHECK: Final = "check --target and TLS: `productsearch status`"
_KNOWN: Final = (
    (
        "WRONG_VERSION_NUMBER",
        "{target} speaks no TLS",
        "add --plaintext: a token, or certificates, turn TLS on",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "cannot reach {target}: its certificate is signed by nobody that is trusted here",
        "name the authority that signed it with --ca FILE",
    ),
    (
        "Hostname Verification",
        "cannot reach {target}: its certificate is for another name",
        "give the name that is in the certificate as --target",
    ),
    (
        "Expected SETTINGS frame",
        "{target} is no gRPC service",
        "check --target: another kind of server answers there; or it wants TLS: add --tls",
    ),
    (
        ("Domain name not found", "lookup error", "lookup failed"),
        "cannot reach {target}: there is no such host",
        "check --target",
    ),
    (
        "Connection refused",
        "cannot reach {target}: connection refused",
        "is the service running there? check --target",
    ),
    (
        ("Connection reset", "Socket closed", "Broken pipe"),
        "cannot reach {target}: it closed the connection",
        "check --target, and whether it wants TLS: --tls or --plaintext",
    ),
    (
        ("No such file or directory", "No route to host", "Network is unreachable"),
        "cannot reach {target}: {found}",
        "check --target",
    ),
)
"""Words of gRPC's core -> what they mean, and what can be done."""


def checked_target(target: str) -> str:
    """Return the target. Raises Failure for what no channel can be opened to."""
    if target.lower().startswith(("http://", "https://", "grpc://", "grpcs://")):
        rest = target.partition("://")[2].strip("/") or "HOST:PORT"
        raise usage(f"--target {target} is no HOST:PORT", f"leave the scheme out: --target {rest}")
    if target.startswith(_SCHEMES):
        return target
    named = _HOST_AND_PORT.fullmatch(target)
    if named is None or not 1 <= int(named[1]) <= _PORT_MAX:
        raise usage(
            f"--target {target!r} is no HOST:PORT",
            f"give both, with a port from 1 to {_PORT_MAX}, such as {Profile.target}",
        )
    return target


def unreached(target: str, words: str) -> tuple[str, str]:
    """Return what happened and what can be done, for what gRPC's core says in its own words."""
    for signs, what, next_step in _KNOWN:
        known = (signs,) if isinstance(signs, str) else signs
        found = next((sign for sign in known if sign in words), None)
        if found is None:
            continue
        if found == "Connection refused" and target == Profile.target:
            next_step = "start the service (make run), or name another with --target"
        return what.format(target=target, found=found.lower()), next_step
    return f"cannot reach {target}: {words}", _CHECK
