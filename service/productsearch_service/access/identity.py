"""Who calls: by the certificate, by a sidecar's word, by a bearer token, else by the address.

In this order, and the first that is there decides: a name that it proves is not made better by
a second one, and a broken one is refused instead of looked past. Knows what gRPC tells of a
peer, and nothing of what the caller wants.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from productsearch_service.access import forwarded
from productsearch_service.access.addresses import Network, host_of, is_within
from productsearch_service.access.callers import Caller
from productsearch_service.errors import CallerUnauthenticated, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import grpc

    from productsearch_service.access.policy import Policy

_SCHEME: Final = "spiffe://"
_SPIFFE_ID: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)*")
_DNS_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_SPIFFE_ID_CHARS_MAX: Final = 2048
_DNS_NAME_CHARS_MAX: Final = 255


class Identification:
    """Finds the caller of an RPC. Thread-safe; raises CallerUnauthenticated.

    ``certificates``: callers show one, which TLS has verified. ``sidecars``: the addresses of
    proxies that are believed. ``policy`` returns the policy now in use, or None.
    """

    def __init__(
        self,
        policy: Callable[[], Policy | None],
        *,
        certificates: bool,
        sidecars: Sequence[Network],
    ) -> None:
        self._policy = policy
        self._certificates = certificates
        self._sidecars = tuple(sidecars)

    def caller(self, context: grpc.ServicerContext) -> Caller:
        """Return who makes the RPC of ``context``."""
        policy = self._policy()
        name = self._name(context, policy)
        return policy.caller(name) if policy is not None else Caller(name)

    def _name(self, context: grpc.ServicerContext, policy: Policy | None) -> str:
        if self._certificates:
            names = context.auth_context()
            return _name(_texts(names, "peer_uri"), _texts(names, "peer_dns"))
        if policy is None and not self._sidecars:
            return host_of(context.peer())
        # Header names may come more than once; an HTTP list of them is one list.
        headers: dict[str, list[str]] = {}
        for key, value in context.invocation_metadata():
            headers.setdefault(key, []).append(str(value))
        told = headers.get(forwarded.HEADER)
        if told is not None and is_within(host_of(context.peer()), self._sidecars):
            return _forwarded_name(",".join(told))
        if policy is None:
            return host_of(context.peer())
        return _bearer_name(policy, headers.get("authorization", []))


def _texts(names: Mapping[str, Any], kind: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in names.get(kind, ())]


def _name(uris: Sequence[str], dns: Sequence[str]) -> str:
    """Return the one name of a certificate: its SPIFFE id, or else its first DNS name."""
    if any(uri.lower().startswith(_SCHEME) for uri in uris):
        if len(uris) != 1:
            raise CallerUnauthenticated(
                f"the certificate carries {len(uris)} URIs; one with a SPIFFE id has exactly one"
            )
        if len(uris[0]) > _SPIFFE_ID_CHARS_MAX or not _SPIFFE_ID.fullmatch(uris[0]):
            raise CallerUnauthenticated(f"{quoted(uris[0])} in the certificate is no SPIFFE id")
        return uris[0]
    if not dns:
        raise CallerUnauthenticated(
            "the certificate names no caller: it has neither a SPIFFE id nor a DNS name"
        )
    name = dns[0].lower()
    if len(name) > _DNS_NAME_CHARS_MAX or not _DNS_NAME.fullmatch(name):
        raise CallerUnauthenticated(f"{quoted(dns[0])} in the certificate is not one DNS name")
    return name


def _forwarded_name(header: str) -> str:
    try:
        names = forwarded.last_element(header)
    except ValueError as error:
        raise CallerUnauthenticated(f"{forwarded.HEADER} is {error}") from None
    return _name(names.uris, names.dns)


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
