"""Certificates: whether own files can be used, and when one begins and ends. Knows no gRPC.

A service says nothing to a caller whose certificate it does not take: it closes the connection. So
what is wrong with the caller's own files is found before a call.
"""

from __future__ import annotations

import datetime
import functools
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from productsearch.cli.failures import usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from productsearch.cli.profile import Profile

Validity = tuple[datetime.datetime, datetime.datetime]
"""When a certificate begins and ends, UTC."""
_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL | re.ASCII
)
_NOT_ITS_KEY: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")
_SERVED_TIMEOUT_S: Final = 2.0
_VERSION_TAG, _UTC_TIME_TAG = 0xA0, 0x17
_LONG_LENGTH: Final = 0x80


def check_own_files(profile: Profile) -> None:
    """Raise Failure for files of a profile with which no connection can come about."""
    if bool(profile.cert) != bool(profile.key):
        given, missing = ("--cert", "--key") if profile.cert else ("--key", "--cert")
        raise usage(f"{given} without {missing}", f"give {missing} FILE too, or leave both out")
    if profile.ca:
        _check_authorities(profile.ca)
    if profile.cert:
        own = _certificates("--cert", profile.cert)
        if (valid := validity(own[0])) is not None and (wrong := out_of_time(valid)):
            raise usage(
                f"--cert {profile.cert} {wrong}",
                f"give a certificate that is valid; the clock here says {in_words(now())}",
            )
    if profile.cert and profile.key:
        _check_key(profile.cert, profile.key)


def _check_authorities(ca: str) -> None:
    found = [validity(each) for each in _certificates("--ca", ca)]
    wrong = [out_of_time(valid) if valid is not None else "" for valid in found]
    if all(wrong):  # a bundle may have some that have ended
        raise usage(
            f"--ca {ca}: the authority's certificate {wrong[-1]}",
            f"give one that is valid; the clock here says {in_words(now())}",
        )


def _check_key(cert: str, key: str) -> None:
    text = _content("--key", key)
    if b"PRIVATE KEY-----" not in text:
        raise usage(f"--key {key} has no private key in PEM", "give the key of --cert")
    if b"ENCRYPTED" in text:
        raise usage(
            f"--key {key} is locked with a passphrase",
            f"give one without: openssl pkey -in {key} -out FILE",
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key)
    except ssl.SSLError as wrong:
        # Whatever else OpenSSL minds, gRPC's own library may take.
        if wrong.reason in _NOT_ITS_KEY:
            raise usage(
                f"--key {key} is not the key of --cert {cert}", "give the two that belong together"
            ) from None


def _certificates(option: str, file: str) -> list[bytes]:
    """Return the certificates of a PEM file, as DER. Raises Failure for one that has none."""
    content = _content(option, file)
    try:
        found = [ssl.PEM_cert_to_DER_cert(each.decode("ascii")) for each in _PEM.findall(content)]
    except ValueError:
        found = []
    if not all(found) or not found:  # of what is no base64 nothing is left
        key = b"PRIVATE KEY-----" in content
        step = "it has a key: is it the file for --key?" if key else "give a PEM file"
        raise usage(f"{option} {file} has no certificate in PEM", step)
    return found


def _content(option: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as wrong:
        raise usage(f"{option} {file}: {wrong.strerror}", "name a file that you can read") from None


def out_of_time(valid: Validity) -> str:
    """Return why a certificate is not valid now; "": it is."""
    begins, ends = valid
    if now() > ends:
        return f"ended {in_words(ends)}"
    if now() < begins:
        return f"is not valid before {in_words(begins)}"
    return ""


def in_words(moment: datetime.datetime) -> str:
    """Return a moment for people."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def now() -> datetime.datetime:
    """Return the time, UTC."""
    return datetime.datetime.now(datetime.UTC)


@functools.cache
def of_server(host: str, port: int) -> Validity | None:
    """Return the validity of the certificate that a server shows; None: it is not known.

    Asks once: all calls of an import fail together.
    """
    try:
        pem = ssl.get_server_certificate((host, port), timeout=_SERVED_TIMEOUT_S)
        return validity(ssl.PEM_cert_to_DER_cert(pem))
    except (OSError, ValueError):
        return None


def validity(der: bytes) -> Validity | None:
    """Return when a certificate begins and ends; None for what is none (RFC 5280, 4.1)."""
    try:
        _, certificate = next(_parts(der))
        _, signed = next(_parts(certificate))
        parts = [content for tag, content in _parts(signed) if tag != _VERSION_TAG]
        begins, ends = (_moment(tag, content) for tag, content in _parts(parts[3]))
    except (IndexError, ValueError, StopIteration):
        return None
    return begins, ends


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each value that stands in a DER value."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & _LONG_LENGTH:
            size = length & ~_LONG_LENGTH
            length = int.from_bytes(der[at : at + size])
            at += size
        yield tag, der[at : at + length]
        at += length


def _moment(tag: int, content: bytes) -> datetime.datetime:
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME_TAG else "%Y%m%d%H%M%SZ"
    return datetime.datetime.strptime(content.decode("ascii"), form).replace(tzinfo=datetime.UTC)
