"""Two facades in front of the fake upstream, behind the gateway; and certificates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.facade import Facade
from tests.fakes.upstream import FakeUpstream
from tests.mesh.gateway import Certificates, Gateway, quick_health
from tests.mesh.replicas import replicas


@dataclass(frozen=True)
class Mesh:
    """What runs."""

    upstream: FakeUpstream
    facades: list[Facade]
    gateway: Gateway


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return the certificates that compose makes."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def mesh(upstream: FakeUpstream, certificates: Certificates, tmp_path: Path) -> Iterator[Mesh]:
    """Return two ready facades behind the gateway."""
    with replicas(tmp_path, upstream.url) as facades:
        addresses = [facade.url for facade in facades]
        with Gateway(tmp_path, certificates, addresses, quick_health) as gateway:
            gateway.wait_for_healthy(2)
            yield Mesh(upstream, facades, gateway)
