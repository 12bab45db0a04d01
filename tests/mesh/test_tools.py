"""The official programs around gRPC work against the service; so do the probes of the manifests."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
import yaml

from tests.mesh.conftest import Mesh
from tests.mesh.gateway import DEPLOY, Certificates
from tests.mesh.tools import tool
from tests.pictures import jpeg

_DEPLOYMENT = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "deployment.yaml").read_text())
_FACADE = _DEPLOYMENT["spec"]["template"]["spec"]["containers"][0]
_PROBES = [_FACADE[name]["grpc"] for name in ("livenessProbe", "readinessProbe", "startupProbe")]

pytestmark = pytest.mark.slow


def _run(*command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("probe", _PROBES, ids=["liveness", "readiness", "startup"])
def test_the_kubelets_probes_are_answered(calm_mesh: Mesh, probe: dict[str, str]) -> None:
    """grpc-health-probe asks as the kubelet does, on the admin port, and hears SERVING."""
    address = calm_mesh.facades[0].admin
    done = _run(tool("grpc-health-probe"), f"-addr={address}", f"-service={probe['service']}")
    assert (0, "status: SERVING") == (done.returncode, done.stdout.strip() or done.stderr.strip())


def test_grpcurl_finds_its_way_by_reflection(calm_mesh: Mesh) -> None:
    """The admin port lists the service and describes its methods to grpcurl."""
    address = calm_mesh.facades[0].admin
    listed = _run(tool("grpcurl"), "-plaintext", address, "list")
    assert "productsearch.v1.ProductSearch" in listed.stdout.splitlines()
    service = "productsearch.v1.ProductSearch"
    described = _run(tool("grpcurl"), "-plaintext", address, "describe", service)
    assert "rpc AddImage" in described.stdout, described.stderr


def test_grpcurl_calls_through_the_gateway(calm_mesh: Mesh, certificates: Certificates) -> None:
    """With the descriptors that Envoy uses, and a certificate, grpcurl makes a call."""
    body = json.dumps({"image": {"content": base64.b64encode(jpeg(1)).decode()}})
    done = _run(
        tool("grpcurl"),
        *("-protoset", str(calm_mesh.gateway.descriptors)),
        *("-cacert", str(certificates.folder / "ca.crt")),
        *("-cert", str(certificates.folder / "shop.crt")),
        *("-key", str(certificates.folder / "shop.key")),
        *("-d", "@", calm_mesh.gateway.address),
        "productsearch.v1.ProductSearch/SearchImages",
        given=body,
    )
    assert 0 == done.returncode, done.stderr
    assert ["a brief"] == [hit["brief"] for hit in json.loads(done.stdout)["results"]]
