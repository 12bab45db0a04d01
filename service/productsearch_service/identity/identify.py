"""Who calls: by the certificate, by a sidecar's word, by a bearer token, else by the address.

The first kind that is present decides; if it is invalid, the call is refused. The address counts
only where there is no policy.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote

from productsearch_service.call_context import Caller
from productsearch_service.errors import CallerUnauthenticated, quoted
from productsearch_service.identity import forwarded_client_cert
from productsearch_service.identity.policy import Policy
from productsearch_service.settings_values import ip_address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Headers = Sequence[tuple[str, str | bytes]]

_SCHEME: Final = "spiffe://"
_SPIFFE_ID: Final = re.compile(
    r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)*"
)
"""By the SPIFFE standard; no segment of the path is ``.`` or ``..``."""
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
"""Letters, digits and hyphens (LDH), in lower case."""
_DNS_NAME_CHARS_MAX: Final = 253


class Peer(Protocol):
    """Who is at the other end of a connection, as gRPC's context of a call tells it."""

    def peer(self) -> str:
        """Return the address, such as ``ipv4:10.0.0.7:51234``."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what TLS has verified, by kind of name."""

    def invocation_metadata(self) -> Headers:
        """Return the headers."""


class CurrentPolicy(Protocol):
    """The policy in use, which changes with its file."""

    value: Policy


@dataclass(frozen=True, eq=False)
class Identification:
    """Finds the caller of an RPC; raises CallerUnauthenticated.

    ``certificates``: callers show one, which TLS has verified. ``sidecars``: the addresses of
    proxies that are believed. ``policy`` is the one in use.
    """

    policy: CurrentPolicy | None
    certificates: bool
    sidecars: Sequence[Network]

    def caller(self, peer: Peer, headers: Headers | None = None) -> Caller:
        """Return who makes the RPC of this peer; ``headers``: its metadata, if they were read."""
        policy = self.policy.value if self.policy is not None else None
        name = self._name(peer, policy, headers)
        return policy.caller(name) if policy is not None else Caller(name)

    def _name(self, peer: Peer, policy: Policy | None, headers: Headers | None) -> str:
        if self.certificates:
            names = peer.auth_context()
            name = _name(_texts(names, "peer_uri"), _texts(names, "peer_dns"))
            _check_whole(name, *names.get("x509_pem_cert", ()))
            return name
        if policy is None and not self.sidecars:
            return host_of(peer.peer())
        # Header names may come more than once; an HTTP list of them is one list.
        if headers is None:
            headers = peer.invocation_metadata()
        told = [str(value) for key, value in headers if key == forwarded_client_cert.HEADER]
        if told and is_within(host_of(peer.peer()), self.sidecars):
            return _forwarded_name(",".join(told))
        if policy is None:
            return host_of(peer.peer())
        return _bearer_name(
            policy, [str(value) for key, value in headers if key == "authorization"]
        )


def _check_whole(name: str, *certificates: bytes) -> None:
    """Raise CallerUnauthenticated unless ``name`` is all that its certificate says.

    gRPC hands names down as C strings, which end at a NUL. What it has cut off follows the name in
    the certificate. After a whole name comes the tag of another value there, which is never 0.
    """
    followed = name.encode() + b"\0"
    for pem in certificates:
        if followed not in ssl.PEM_cert_to_DER_cert(pem.decode("ascii", "replace")):
            return
    raise CallerUnauthenticated(f"the name in the certificate goes on after {quoted(name)}")


def _texts(names: Mapping[str, Iterable[bytes]], kind: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in names.get(kind, ())]


def _name(uris: Sequence[str], dns: Sequence[str]) -> str:
    """Return the one name of a certificate: its SPIFFE id, or else its first DNS name."""
    if any(uri.lower().startswith(_SCHEME) for uri in uris):
        if len(uris) != 1:
            raise CallerUnauthenticated(
                f"the certificate carries {len(uris)} URIs; one with a SPIFFE id has exactly one"
            )
        long = len(uris[0]) > forwarded_client_cert.URI_CHARS_MAX
        if long or not _SPIFFE_ID.fullmatch(uris[0]):
            raise CallerUnauthenticated(
                f"{quoted(uris[0])} in the certificate is not a SPIFFE id "
                "such as spiffe://mesh.example/ns/shop/sa/web"
            )
        return uris[0]
    if not dns:
        raise CallerUnauthenticated(
            "the certificate names no caller: it has neither a SPIFFE id nor a DNS name"
        )
    if len(dns[0]) > _DNS_NAME_CHARS_MAX or not _DNS_NAME.fullmatch(dns[0]):
        raise CallerUnauthenticated(
            f"{quoted(dns[0])} in the certificate is not a DNS name of lower-case letters, digits "
            "and hyphens"
        )
    return dns[0]


def _forwarded_name(header: str) -> str:
    try:
        uri = forwarded_client_cert.last_uri(header)
    except ValueError as error:
        raise CallerUnauthenticated(f"{forwarded_client_cert.HEADER} {error}") from None
    return _name([uri], ())


def _bearer_name(policy: Policy, headers: Sequence[str]) -> str:
    if len(headers) != 1:
        raise CallerUnauthenticated(
            "no caller is named; send metadata `authorization: Bearer <token>`, once"
        )
    scheme, _, token = headers[0].partition(" ")
    name = policy.bearer_of(token.strip()) if scheme.lower() == "bearer" else None
    if name is None:
        raise CallerUnauthenticated("the bearer token belongs to no caller of the policy")
    return name


def host_of(peer: str) -> str:
    """Return the host of a gRPC peer such as ``ipv4:10.0.0.7:51234``; its port says nothing.

    A peer at a Unix socket has no host: then it is the kind, ``unix``.
    """
    kind, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0] if kind.startswith("ip") else kind


def is_within(host: str, networks: Iterable[Network]) -> bool:
    """Whether ``host`` is an IP address in one of ``networks``; other peers are in none."""
    address = ip_address(host.strip("[]"))
    return address is not None and any(address in network for network in networks)
