"""Two facades in front of the fake upstream, behind the gateway; and certificates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.facade import Facade
from tests.fakes.upstream import FakeUpstream
from tests.mesh.gateway import Certificates, Gateway, quick_health
from tests.mesh.replicas import replicas
from tests.mesh.tools import need


@dataclass(frozen=True)
class Mesh:
    """What runs."""

    upstream: FakeUpstream
    facades: list[Facade]
    gateway: Gateway


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return the certificates that compose makes."""
    need("openssl")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def running_mesh(
    upstream: FakeUpstream, certificates: Certificates, folder: Path
) -> Iterator[Mesh]:
    """Start two facades and the gateway; yield when all are ready."""
    with replicas(folder, upstream.url) as facades:
        addresses = [facade.url for facade in facades]
        with Gateway(folder, certificates, addresses, quick_health) as gateway:
            gateway.wait_for_healthy(2)
            yield Mesh(upstream, facades, gateway)


@pytest.fixture
def mesh(upstream: FakeUpstream, certificates: Certificates, tmp_path: Path) -> Iterator[Mesh]:
    """Return a mesh of the test's own."""
    with running_mesh(upstream, certificates, tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def calm_mesh(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mesh]:
    """Return a mesh that tests share: nothing happens to it."""
    folder = tmp_path_factory.mktemp("mesh")
    with FakeUpstream() as upstream, running_mesh(upstream, certificates, folder) as running:
        yield running
