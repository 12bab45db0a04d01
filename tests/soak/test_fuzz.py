"""Bad bytes for every reader, at the size of every test run."""

from __future__ import annotations

import io
import json

import grpc
import pytest
from PIL import Image

from productsearch import v1
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream, Fault
from tests.soak import fuzz_engine
from tests.soak.fuzz import FULL, run
from tests.soak.fuzz_files import claiming, files_of_all_kinds
from tests.soak.measures import assert_kept

SIZE = FULL // 50


def test_bad_bytes_meet_values_or_own_errors() -> None:
    """Answers, requests, forms, images: read or refused, and the service answers on."""
    assert_kept(run(SIZE))


@pytest.mark.slow
def test_bad_bytes_for_a_running_engine() -> None:
    """Mutated calls and images over HTTP: documented codes, and the engine is as before."""
    assert_kept(fuzz_engine.run(2_000, 120))


def test_headers_lie_as_they_are_told() -> None:
    """The liar writes the sides where decoders of each format read them."""
    files = files_of_all_kinds()
    for kind in ("JPEG", "PNG", "BMP", "GIF animated", "TIFF", "WEBP lossless"):
        sides = Image.open(io.BytesIO(claiming(kind, files[kind], 1234, 777))).size
        assert (1234, 777) == sides, kind


@pytest.mark.parametrize("answer", [{"error": "invalid_client"}, {"message": "no route"}, {}])
@pytest.mark.parametrize("status", [401, 503])
@pytest.mark.parametrize("method", ["UpdateImage", "DeleteImage"])
def test_an_answer_of_a_gateway_is_no_success(
    method: str, status: int, answer: object, facade: FacadeFactory, upstream: FakeUpstream
) -> None:
    """The API answers with status 200: other JSON, without error_code, is no success."""
    broken = Fault(status=status, body=json.dumps(answer).encode())
    upstream.always("update", broken)
    upstream.always("delete", broken)
    ref = v1.ImageRef(cont_sign="1,2")
    requests = {
        "UpdateImage": v1.UpdateImageRequest(image_ref=ref, brief="b"),
        "DeleteImage": v1.DeleteImageRequest(image_ref=ref),
    }
    with pytest.raises(grpc.RpcError):
        getattr(facade(), method)(requests[method])
