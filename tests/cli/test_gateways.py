"""A gateway that refuses by itself: it has no reason of the service, and is not the service."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from productsearch.cli.importing import sender
from productsearch.v1 import (
    AddImageResponse,
    AddOutcome,
    ProductSearchServicer,
    add_ProductSearchServicer_to_server,
)
from tests.cli.conftest import Cli
from tests.pictures import jpeg


class Gateway(ProductSearchServicer):
    """Answers adds with the codes of ``answers``, one after the other, and then well."""

    def __init__(self) -> None:
        self.answers: list[tuple[grpc.StatusCode, str]] = []

    def AddImage(self, request: Any, context: Any) -> AddImageResponse:
        """Fail as told, or store nothing and say so."""
        if self.answers:
            context.abort(*self.answers.pop(0))
        return AddImageResponse(cont_sign="1,2", outcome=AddOutcome.ADD_OUTCOME_CREATED)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """Return a gateway that commands call."""
    servicer, server = Gateway(), grpc.server(ThreadPoolExecutor(1))
    add_ProductSearchServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    monkeypatch.setenv("PRODUCTSEARCH_CLI_TARGET", f"127.0.0.1:{port}")
    server.start()
    yield servicer
    server.stop(None).wait()


def test_a_gateways_rate_rejects_no_image(
    cli: Cli, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC has the same code for a message that is too large. `add` says that later helps: 4."""
    monkeypatch.setattr(sender, "_GATEWAYS_RATE_S", 0.0)
    image = tmp_path / "a.jpg"
    image.write_bytes(jpeg(1))
    refused = (grpc.StatusCode.RESOURCE_EXHAUSTED, "local_rate_limited")
    gateway.answers = [refused]
    added = cli("add", image)
    assert (4, True) == (added.code, "a gateway limits the rate" in added.err), added.err
    gateway.answers = [refused] * 3
    assert 0 == cli("import", tmp_path).code


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED]
)
def test_a_gateway_that_refuses_a_caller_is_named(
    cli: Cli, gateway: Gateway, tmp_path: Path, code: grpc.StatusCode
) -> None:
    """It may have been the gateway: the service gives a reason."""
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    gateway.answers = [(code, "RBAC: access denied")]
    ran = cli("add", tmp_path / "a.jpg")
    assert (5, True) == (ran.code, "a gateway before the service may have" in ran.err), ran.err
