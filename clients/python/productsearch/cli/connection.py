"""Opens the channel that a profile describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from productsearch.cli.certificates import check_own_files
from productsearch.cli.failures import usage
from productsearch.cli.profile import in_use
from productsearch.cli.targets import checked_target
from productsearch.v1 import ProductSearchStub, TlsConfig, aio, connect

if TYPE_CHECKING:
    import grpc
    import grpc.aio

    from productsearch.cli.profile import Profile


_RECONNECT_MS_MAX: Final = 5000
"""gRPC waits up to two minutes between two tries to connect: an import would miss a service's
return for as long."""


def open_channel(profile: Profile) -> grpc.Channel:
    """Return a channel; it connects on first use. Raises Failure."""
    try:
        return connect(checked_target(profile.target), **_options(profile))
    except (OSError, ValueError) as wrong:
        raise usage(f"cannot connect: {wrong}") from None


def open_async_channel(profile: Profile) -> grpc.aio.Channel:
    """Return a channel of the running event loop. Raises Failure."""
    try:
        return aio.connect(checked_target(profile.target), **_options(profile))
    except (OSError, ValueError) as wrong:
        raise usage(f"cannot connect: {wrong}") from None


def stub_of(channel: grpc.Channel) -> ProductSearchStub:
    """Return the stub of a channel."""
    return ProductSearchStub(channel)


def _options(profile: Profile) -> dict[str, Any]:
    in_use.set(profile)
    tls: bool | TlsConfig | None = profile.tls
    if profile.ca or profile.cert or profile.key:
        if tls is False:
            raise ValueError("plaintext and certificates exclude each other")
        check_own_files(profile)
        tls = TlsConfig(ca=profile.ca or None, cert=profile.cert or None, key=profile.key or None)
    options = [("grpc.max_reconnect_backoff_ms", _RECONNECT_MS_MAX)]
    return {"token": profile.bearer() or None, "tls": tls, "options": options}
