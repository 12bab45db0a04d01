"""The server's certificate, its key and its callers' CA: read from files and checked.

Knows PEM and not gRPC. A key is never shown, whatever is wrong with it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from productsearch_service import limits, small_file

_DAY_S: Final = 86_400
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_VERSION: Final = 0xA0
"""Tags of ASN.1 (X.690), and that of a certificate's version (RFC 5280)."""


class CertificateError(ValueError):
    """The files cannot be used; the text says which one and why."""


@dataclass(frozen=True, slots=True)
class Pem:
    """What the files hold. ``client_ca`` is None where callers need no certificate."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the certificate chain, its unencrypted key and the callers' CA are."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> Pem:
        """Return what the files hold now; raise CertificateError."""
        return Pem(
            read_file(self.certificate),
            read_file(self.key),
            read_file(self.client_ca) if self.client_ca is not None else None,
        )

    def check(self, pem: Pem) -> Pem:
        """Return ``pem``, which was read from these files; raise CertificateError if it is bad."""
        _check_pair(self.certificate, self.key, pem)
        if self.client_ca is not None:
            check_client_ca(self.client_ca, pem.client_ca or b"")
        # The pair was checked by its path: what was read must still be there.
        if self.read() != pem:
            raise CertificateError(f"{self.certificate}: replaced while it was read")
        return pem

    def check_dates(self, pem: Pem, now_s: float, in_use: Pem) -> None:
        """Raise CertificateError if ``pem`` is not valid at this time, and ``in_use`` is."""
        wrong = _not_valid(pem.certificate, now_s)
        if wrong and not _not_valid(in_use.certificate, now_s):
            remedy = "the certificate before is still valid and stays; put a valid one in its place"
            raise CertificateError(f"{self.certificate}: {wrong}; {remedy}")
        authorities, before = pem.client_ca or b"", in_use.client_ca or b""
        if _none_is_valid(authorities, now_s) and not _none_is_valid(before, now_s):
            told = f"{self.client_ca}: no certificate in it is valid now"
            raise CertificateError(f"{told}; the ones before stay; put a valid one in its place")


def check_certificate(path: Path, content: bytes) -> None:
    """Raise CertificateError if the file of this content holds no certificate."""
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise CertificateError(f"{path}: holds no PEM certificate")


def check_client_ca(path: Path, content: bytes) -> None:
    """Raise CertificateError if the file of this content is no use as the callers' CA."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise CertificateError(f"{path}: holds no PEM certificates of a CA") from None


def read_file(path: Path) -> bytes:
    """Return the content of a file; raise CertificateError."""
    try:
        return small_file.read(path)
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None


def _check_pair(certificate: Path, key: Path, pem: Pem) -> None:
    check_certificate(certificate, pem.certificate)
    if b"PRIVATE KEY-----" not in pem.key:
        raise CertificateError(f"{key}: holds no PEM private key")
    if b"ENCRYPTED" in pem.key:
        raise CertificateError(f"{key}: is encrypted; only an unencrypted key can be used")
    try:
        # Without a password of ours OpenSSL would ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key}: is not the key of {certificate}") from None
        raise CertificateError(f"{certificate}, {key}: damaged, or too weak to be used") from None
    except OSError as error:
        raise CertificateError(f"{certificate}, {key}: {error.strerror}") from None


def concerns(pem: bytes, now_s: float) -> Iterator[str]:
    """Yield a sentence if a certificate has ended or ends soon, and if it is not valid yet."""
    begins = begins_in_days(pem, now_s)
    if begins is not None and begins > 0:
        told = f"a certificate is not valid before {begins:.1f} days from now"
        yield f"{told}; nobody accepts it until then"
    days = days_left(pem, now_s)
    if days is not None and days < limits.CERTIFICATE_DAYS_FEW:
        told = f"ended {-days:.0f} days ago" if days < 0 else f"ends in {days:.0f} days"
        yield f"a certificate {told}; put a new one in its place"


def days_left(pem: bytes, now_s: float) -> float | None:
    """Return the days until the first certificate of a file ends; None if there is none.

    Of several, the one that ends first counts: a chain is as good as its weakest part.
    """
    known = _validities(pem)
    return (min(end for _, end in known) - now_s) / _DAY_S if known else None


def begins_in_days(pem: bytes, now_s: float) -> float | None:
    """Return the days until the first certificate of a file is valid, below 0 if it is.

    None if there is none. The first one is the server's own, or the CA that is in use; what follows
    may be there for later.
    """
    known = _validities(pem)
    return (known[0][0] - now_s) / _DAY_S if known else None


def ends(pem: bytes) -> str:
    """Return when the first certificate of a file ends, as UTC; empty if there is none."""
    known = _validities(pem)
    return _utc(min(end for _, end in known)) if known else ""


def _not_valid(pem: bytes, now_s: float) -> str:
    """Return why a server's chain is not valid at this time, or nothing."""
    begins, days = begins_in_days(pem, now_s), days_left(pem, now_s)
    if begins is not None and begins > 0:
        return f"is not valid before {_utc(_validities(pem)[0][0])}"
    return f"ended {ends(pem)}" if days is not None and days <= 0 else ""


def _none_is_valid(pem: bytes, now_s: float) -> bool:
    """Return whether all authorities of a file have ended or have not begun."""
    known = _validities(pem)
    return bool(known) and not any(begin <= now_s < end for begin, end in known)


def _utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")


def _validities(pem: bytes) -> list[tuple[float, float]]:
    return [found for found in map(_validity, _certificates(pem)) if found is not None]


def _certificates(pem: bytes) -> Iterator[bytes]:
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    for part in pem.decode("ascii", "replace").split(begin)[1:]:
        try:
            yield ssl.PEM_cert_to_DER_cert(begin + part.partition(end)[0] + end)
        except ValueError:
            continue


def _validity(der: bytes) -> tuple[float, float] | None:
    """Return when a certificate begins and ends: ssl shows dates of the other side's alone."""
    try:
        ((_, certificate),) = _members(der)
        _, signed = next(_members(certificate))
        members = [each for each in _members(signed) if each[0] != _VERSION]
        validity = members[3][1]  # after serial number, algorithm and issuer
        begin, end = (_time(*each) for each in _members(validity))
    except (ValueError, LookupError, StopIteration):
        return None
    return begin, end


def _time(kind: int, text: bytes) -> float:
    form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}[kind]
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def _members(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each value of a DER sequence's content."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size])
            at += size
        yield tag, der[at : at + length]
        at += length
