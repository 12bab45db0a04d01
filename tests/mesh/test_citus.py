"""The files in deploy/citus are what their readers accept, and agree with each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.mesh.gateway import DEPLOY

_CITUS = DEPLOY / "citus"
_VERSIONS = ("1.31", "1.37")
_COMPOSE = yaml.safe_load((_CITUS / "compose.yaml").read_text())["services"]
_RESOURCES = list(yaml.safe_load_all((_CITUS / "kubernetes/cluster.yaml").read_text()))


def _of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in _RESOURCES if kind == each["kind"]}


@pytest.mark.parametrize("version", _VERSIONS)
def test_kubernetes_accepts_the_manifests(version: str) -> None:
    """Each resource fits its schema, with no field that is not in it."""
    assert len(_RESOURCES) >= 7
    for resource in _RESOURCES:
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_dockerfile_passes_the_linter() -> None:
    """hadolint has nothing to say of it, and what it copies is there."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hadolint")), str(_CITUS / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stdout)
    lines = (_CITUS / "Dockerfile").read_text().splitlines()
    copied = [line.split()[-2] for line in lines if line.startswith("COPY")]
    assert 2 == len(copied)
    assert [] == [name for name in copied if not (_CITUS / name).is_file()]


def test_the_shell_script_is_one() -> None:
    """bash reads it to its end."""
    subprocess.run(["bash", "-n", str(_CITUS / "join.sh")], check=True)


def test_each_worker_joins() -> None:
    """Compose and Kubernetes name the coordinator and all workers that they start."""
    nodes = [name for name in _COMPOSE if name == "coordinator" or name.startswith("worker")]
    assert ["join", *nodes] == _COMPOSE["join"]["entrypoint"]
    (job,) = _of_kind("Job").values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    pods = [
        f"{name}-{number}.{name}"
        for name, each in _of_kind("StatefulSet").items()
        for number in range(each["spec"]["replicas"])
    ]
    assert ["join", *pods] == container["command"]
    assert {name.partition(".")[2] for name in pods} == _of_kind("Service").keys()


def test_the_engine_waits_until_the_database_is_distributed() -> None:
    """The order of the steps is that of docs/scaling.md, and all engines name the coordinator."""
    done = {"condition": "service_completed_successfully"}
    assert {"join": done} == _COMPOSE["distribute"]["depends_on"]
    assert ["database", "distribute"] == _COMPOSE["distribute"]["command"]
    assert {"distribute": done} == _COMPOSE["engine"]["depends_on"]
    for name in ("distribute", "engine"):
        dsn = _COMPOSE[name]["environment"]["PRODUCTSEARCH_ENGINE_DATABASE"]
        assert "host=coordinator " in dsn


def test_what_is_selected_is_there() -> None:
    """Services, budget and policy select the pods of the sets, whose claims are mounted."""
    labels = [
        each["spec"]["template"]["metadata"]["labels"] for each in _of_kind("StatefulSet").values()
    ]
    for name, service in _of_kind("Service").items():
        assert 1 == sum(service["spec"]["selector"].items() <= own.items() for own in labels), name
    for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        (only,) = _of_kind(kind).values()
        wanted = only["spec"][field]["matchLabels"].items()
        assert all(wanted <= own.items() for own in labels)
    for each in _of_kind("StatefulSet").values():
        (container,) = each["spec"]["template"]["spec"]["containers"]
        volumes = {v["name"] for v in each["spec"]["template"]["spec"]["volumes"]}
        volumes |= {c["metadata"]["name"] for c in each["spec"]["volumeClaimTemplates"]}
        assert volumes == {mount["name"] for mount in container["volumeMounts"]}
        assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]
