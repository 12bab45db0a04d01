"""Addresses of services: which can be one, and why one could not be reached, in plain words."""

from __future__ import annotations

import re
from typing import Final

from productsearch.cli import certificates
from productsearch.cli.failures import usage
from productsearch.cli.profile import Profile

_HOST_AND_PORT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s/:\[\]]+):([0-9]{1,5})")
_SCHEMES: Final = ("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:", "xds:")
"""Of gRPC's own names, which are left to it."""
_PORT_MAX: Final = 65535
_CHECK: Final = "check --target and TLS: `productsearch status`"
_GATEWAYS: Final = (
    (
        ("upstream connect error", "no healthy upstream", "upstream request timeout"),
        "a gateway answers at {target}, and no service behind it does",
        "run it again later, or tell who runs the service",
    ),
    (
        ("Received http2 header with status: 5",),
        "{target} answers as a gateway does that reaches no service, or as a web server",
        "run it again later; if that does not help, check --target, or tell who runs the service",
    ),
)
"""Words of gateways -> what they mean, and what can be done. They quote what they were told."""
_KNOWN: Final = (
    (
        ("Domain name not found", "lookup error", "lookup failed"),
        "cannot reach {target}: there is no such host",
        "check --target",
    ),
    (
        ("No such file or directory", "No route to host", "Network is unreachable"),
        "cannot reach {target}: {found}",
        "check --target",
    ),
    (
        ("got frame type 0)",),  # the bytes of an alert of TLS, read as a frame
        "cannot reach {target}: it speaks TLS, and plaintext was sent",
        "add --tls",
    ),
    (
        ("Expected SETTINGS frame",),
        "{target} is no gRPC service",
        "check --target: another kind of server may be there",
    ),
    (
        ("Hostname Verification",),
        "cannot reach {target}: its certificate is for another name",
        "give a name that is in the certificate as --target, if it leads there",
    ),
    (
        ("Failed to create security handshaker",),
        "cannot reach {target}: the files for TLS cannot be used",
        "check --ca, --cert and --key",
    ),
)
"""The same for the words of gRPC's core."""
_CLOSED: Final = (
    *("Connection reset", "Socket closed", "Broken pipe", "Unwrap failed"),
    *("Tls handshake failed", "_ALERT_"),
)
"""Words for a connection that the other side ended, in the handshake or after it."""


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


def unreached(profile: Profile, words: str) -> tuple[str, str]:
    """Return what happened and what can be done, for what gRPC's core says in its own words.

    ``profile`` is what the call was made with: what helps depends on it.
    """
    target = profile.target
    if told := _known(_GATEWAYS, target, words):
        return told
    if "Connection refused" in words:
        step = "is the service running there? check --target"
        if target == Profile.target:
            step = "start the service (make run), or name another with --target"
        return f"cannot reach {target}: connection refused", step
    if "WRONG_VERSION_NUMBER" in words:
        return f"{target} speaks no TLS", _without_tls(profile)
    if (untrusted := _UNTRUSTED.search(words)) is not None:
        return _untrusted(profile, untrusted["why"])
    if told := _known(_KNOWN, target, words):
        return told
    if any(sign in words for sign in _CLOSED):
        return f"cannot reach {target}: it closed the connection", _after_closing(profile)
    return f"cannot reach {target}: {words}", _CHECK


_STAYS: Final = (
    *("WRONG_VERSION_NUMBER", "CERTIFICATE_VERIFY_FAILED", "Hostname Verification"),
    *("Failed to create security handshaker", "got frame type 0)", "Expected SETTINGS frame"),
)
"""Words for what is wrong with the address, with TLS or with a certificate."""


def stays_unreached(words: str) -> bool:
    """Return whether no waiting helps: somebody is there, and not one that can be spoken to so.

    What a gateway says of the service behind it may pass.
    """
    return not _known(_GATEWAYS, "", words) and any(sign in words for sign in _STAYS)


def _known(
    rows: tuple[tuple[tuple[str, ...], str, str], ...], target: str, words: str
) -> tuple[str, str] | None:
    """Return what the first row that fits says."""
    for signs, what, next_step in rows:
        if (found := next((sign for sign in signs if sign in words), None)) is not None:
            return what.format(target=target, found=found.lower()), next_step
    return None


def _without_tls(profile: Profile) -> str:
    """Return the step where TLS was spoken to who speaks none."""
    files = [name for name in ("ca", "cert", "key") if getattr(profile, name)]
    if files:
        given = ", ".join(f"--{name}" for name in files)
        return f"leave out what turns TLS on ({given}), or check --target"
    return "add --plaintext: a token turns TLS on" if profile.tls is None else "add --plaintext"


_UNTRUSTED: Final = re.compile(r"CERTIFICATE_VERIFY_FAILED(: (?P<why>[^:]*))?")


def _untrusted(profile: Profile, why: str | None) -> tuple[str, str]:
    """Return the same for a certificate that is not accepted here; ``why`` is OpenSSL's."""
    cannot = f"cannot reach {profile.target}: "
    why = why or ""
    if "expired" in why or "not yet valid" in why:
        told = _dates_of(profile.target)
        fallback = "has ended" if "expired" in why else "is not valid yet"
        whose = "its certificate" if told else "its certificate, or one that it is signed by,"
        clock = certificates.in_words(certificates.now())
        step = f"tell who runs the service; the clock here says {clock}"
        return f"{cannot}{whose} {told or fallback}", step
    if not any(word in why for word in _NOBODY):
        step = "tell who runs the service, or name the authority that signed it with --ca FILE"
        return f"{cannot}its certificate is not accepted: {why}", step
    step = "name the authority that signed it with --ca FILE"
    if profile.ca:
        return f"{cannot}its certificate is not signed by an authority of {profile.ca}", step
    return f"{cannot}its certificate is signed by nobody that is trusted here", step


_NOBODY: Final = ("issuer", "self signed", "self-signed", "unable to verify")
"""Of OpenSSL's words for a certificate whose authority is not known."""


def _dates_of(target: str) -> str:
    """Return why the certificate that the target shows is not valid now; "" if it is not known."""
    if target.startswith(_SCHEMES) or _HOST_AND_PORT.fullmatch(target) is None:
        return ""
    host, _, port = target.rpartition(":")
    shown = certificates.of_server(host.strip("[]"), int(port))
    return certificates.out_of_time(shown) if shown is not None else ""


def _after_closing(profile: Profile) -> str:
    """Return what may help where the other side closed the connection, and did not say why."""
    if not profile.speaks_tls:
        return "check --target; it may want TLS: --tls"
    if profile.cert:
        return f"it may not accept --cert {profile.cert}: ask which authorities it trusts"
    return "it may ask for a certificate: --cert FILE --key FILE; or check --target"
