"""JSON over HTTP through the gateway, with curl, as a caller without gRPC has it."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.facade import Facade
from demo.processes import Engine
from deploy.envoy import descriptors
from productsearch.v1 import product_search_pb2
from tests.conftest import library_of
from tests.mesh.gateway import Certificates, Gateway, quick_health
from tests.mesh.replicas import NO_DRAIN
from tests.mesh.tools import need
from tests.pictures import jpeg, noise_jpeg

Curl = Callable[..., tuple[int, Any]]

_SERVICE = "productsearch.v1.ProductSearch"


@pytest.fixture(scope="module")
def curl(
    engine: Engine, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Curl]:
    """Return a function that sends JSON with curl and returns the status and the JSON answer."""
    need("curl")
    folder = tmp_path_factory.mktemp("json")
    library = library_of(engine)
    pair = (library["api_key"], library["secret_key"])
    with (
        Facade(folder / "facade", engine.url, {"default": pair}, environment=NO_DRAIN) as facade,
        Gateway(folder, certificates, [facade.url], quick_health) as gateway,
    ):
        gateway.wait_for_healthy(1)
        yield lambda *request: _curl(gateway.address, certificates.folder, *request)


def _curl(address: str, tls: Path, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
    # curl 7.88 takes the end of a stream that was refused early for an error; HTTP/1.1 has none.
    command = ["curl", "-sS", "--http1.1", "-X", verb, f"https://{address}{path}"]
    command += ["--cacert", str(tls / "ca.crt"), "-w", "\n%{http_code}"]
    command += ["--cert", str(tls / "catalogue.crt"), "--key", str(tls / "catalogue.key")]
    if body is not None:
        command += ["-H", "content-type: application/json", "--data-binary", "@-"]
    sent = None if body is None else json.dumps(body)
    done = subprocess.run(command, input=sent, capture_output=True, text=True, check=True)
    answer, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(answer)


def _image(image: bytes) -> dict[str, str]:
    return {"content": base64.b64encode(image).decode()}


def test_a_image_is_added_found_changed_and_deleted(curl: Curl) -> None:
    """Each of the five methods does over JSON what it does over gRPC."""
    new = {"image": _image(jpeg(41)), "brief": "a red shoe", "classId1": 3}
    status, added = curl("POST", "/v1/libraries/default/images", new)
    assert (200, "ADD_OUTCOME_CREATED") == (status, added["outcome"])
    sign = added["contSign"]
    keep = "/v1/images?duplicatePolicy=DUPLICATE_POLICY_KEEP"
    status, kept = curl("POST", keep, new)
    assert (200, "ADD_OUTCOME_KEPT", sign) == (status, kept["outcome"], kept["contSign"])
    assert 200 == curl("PATCH", f"/v1/libraries/default/images/{sign}", {"brief": "blue"})[0]
    search = {"image": _image(jpeg(41)), "pageSize": 1}
    status, found = curl("POST", "/v1/libraries/default/images:search", search)
    assert (200, [(sign, "blue")]) == (
        status,
        [(hit["contSign"], hit["brief"]) for hit in found["results"]],
    )
    assert 200 == curl("DELETE", f"/v1/images/{sign}")[0]
    assert "results" not in curl("POST", "/v1/images:search", search)[1]
    batch = {"contSigns": [sign], "allowMissing": True}
    status, deleted = curl("POST", "/v1/libraries/default/images:batchDelete", batch)
    assert (200, [sign]) == (status, [result["contSign"] for result in deleted["results"]])


def test_images_up_to_the_upstreams_limit_fit(curl: Curl) -> None:
    """An image of 2.9 MB, 3.9 MB as base64, is added; a bigger one is told why not."""
    assert (
        200 == curl("POST", "/v1/images", {"image": _image(noise_jpeg(2_890_000)), "brief": "b"})[0]
    )
    too_big = {"image": _image(noise_jpeg(3_500_000)), "brief": "b"}
    status, error = curl("POST", "/v1/images", too_big)
    assert (400, "IMAGE_SIZE_INVALID") == (status, error["details"][0]["reason"])


def test_a_missing_image_is_404_with_the_reason(curl: Curl) -> None:
    """An error is a google.rpc.Status with all its details as JSON."""
    status, error = curl("DELETE", "/v1/images/1,2")
    assert (404, 5) == (status, error["code"])
    assert "IMAGE_NOT_FOUND" == error["details"][0]["reason"]
    assert error["details"][0]["@type"].endswith("google.rpc.ErrorInfo")


@pytest.mark.parametrize(
    ("request_", "status", "code", "told"),
    [
        (("POST", "/v1/images", {"image": {"content": "aGVsbG8="}}), 400, 3, "new_image.brief"),
        (("POST", "/v1/images:search", {"image": {"content": "***"}}), 400, 3, "image.content"),
        (("POST", "/v1/images?colour=red", {}), 400, 3, "colour"),
        (("POST", "/v1/photos", {}), 404, 5, "/v1/photos"),
        (("GET", "/v1/images"), 404, 5, "/v1/images"),
    ],
    ids=["two fields", "base64", "query", "path", "verb"],
)
def test_what_is_wrong_is_told_as_json(
    curl: Curl, request_: tuple[Any, ...], status: int, code: int, told: str
) -> None:
    """Whether the facade or Envoy refuses: HTTP status, code and what was wrong."""
    answered, error = curl(*request_)
    assert (status, code) == (answered, error["code"])
    assert told in json.dumps(error)


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ({"selector": f"{_SERVICE}.Add", "post": "/v1/images"}, "Add: no such method"),
        ({"selector": f"{_SERVICE}.AddImage", "post": "/v1/{shop}"}, "no such field: shop"),
        ({"selector": f"{_SERVICE}.AddImage", "post": "/v1", "body": "it"}, "no such field: it"),
        (
            {
                "selector": f"{_SERVICE}.DeleteImage",
                "delete": "/v1/{library}",
                "additionalBindings": [{"delete": "/v1/{image_ref.sign}"}],
            },
            "no such field: image_ref.sign",
        ),
    ],
    ids=["method", "path", "body", "second binding"],
)
def test_a_rule_that_does_not_fit_the_proto_is_refused(
    rule: dict[str, Any], wrong: str, tmp_path: Path
) -> None:
    """The descriptors are not written, and the message says what in which rule."""
    rules = tmp_path / "http.json"
    rules.write_text(json.dumps({"rules": [rule]}))
    with pytest.raises(descriptors.RuleError, match=wrong):
        descriptors.descriptor_set(rules)


def test_every_unary_method_has_a_path() -> None:
    """A method that is added to the proto is not forgotten in http.json."""
    rules = json.loads(descriptors.RULES.read_text())["rules"]
    service = product_search_pb2.DESCRIPTOR.services_by_name["ProductSearch"]
    unary = {method.full_name for method in service.methods if not method.client_streaming}
    assert unary == {rule["selector"] for rule in rules}
