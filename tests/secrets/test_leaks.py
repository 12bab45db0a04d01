"""Token and key pair stay inside, whatever fails, at log level DEBUG."""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from productsearch import v1
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream, Fault, Received, error
from tests.pictures import jpeg

API_KEY = "q7Xv2LkP9sRt4WzB6nYd1cHf"
SECRET_KEY = "m3JxG8uKe5TbN0aVhC2pQyZwS7rDfLi4"
TOKEN = "24.f00dcafe5eedbeadf00dcafe5eedbead.2592000.1797900000.app-4711+/=x"
IMAGE = v1.ImageSource(content=jpeg(1))
CALLS: list[tuple[str, Any]] = [
    ("AddImage", v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b"))),
    ("SearchImages", v1.SearchImagesRequest(image=IMAGE)),
    ("DeleteImage", v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign="1,2"))),
]


def _pieces(secret: str) -> set[str]:
    """Return all runs of 12 characters, in the spellings that a text can have them in."""
    spellings = {
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        *(base64.b64encode(b"x" * pad + secret.encode()).decode()[8:-4] for pad in range(3)),
    }
    return {text[at : at + 12] for text in spellings for at in range(len(text) - 11)}


PIECES = _pieces(API_KEY) | _pieces(SECRET_KEY) | _pieces(TOKEN)


def _echo(request: Received) -> Any:
    """Answer with what was asked, as careless gateways do."""
    asked = f"{request.query} {request.body[:200].decode()}"
    return Fault(status=502, body=f"<html>GET {asked}</html>".encode())


FAULTS = {
    "close": Fault(kind="close"),
    "reset": Fault(kind="reset"),
    "cut": Fault(kind="cut"),
    "html": Fault(status=500, body=b"<html>oops</html>"),
    "echo": _echo,
    "redirect": Fault(status=302),
    "unknown code": error(424242, "no such thing"),
    "credentials": error(14),
    "token": error(110),
}


@pytest.mark.parametrize("place", ["call", "token"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_tells_no_secret(
    fault: str,
    place: str,
    facade: FacadeFactory,
    upstream: FakeUpstream,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Status, details, trailers, log records with tracebacks, stdout and stderr: no secret."""
    caplog.set_level(logging.DEBUG)
    stub = facade({"api_key": API_KEY, "secret_key": SECRET_KEY})
    if place == "token":
        upstream.always("token", FAULTS[fault])
    else:
        upstream.always("token", {"access_token": TOKEN, "expires_in": 2592000})
        for method in ("add", "search", "delete"):
            upstream.always(method, FAULTS[fault])
    told = []
    for method, request in CALLS:
        with pytest.raises(grpc.RpcError) as caught:
            getattr(stub, method)(request)
        told += [str(caught.value), str(v1.status_of(caught.value))]
        told.append(str(caught.value.trailing_metadata()))  # type: ignore[attr-defined]
    assert upstream.received
    end_s = time.monotonic() + 5  # lines are written together, a moment later
    while not any("rpc=DeleteImage" in each.getMessage() for each in caplog.records):
        assert time.monotonic() < end_s
        time.sleep(0.01)
    formatter = logging.Formatter("%(name)s %(message)s")
    told += [formatter.format(record) for record in caplog.records]
    told += [*capfd.readouterr()]
    text = "\n".join(told)
    assert "rpc=AddImage" in text
    assert [] == sorted(piece for piece in PIECES if piece in text)


def test_an_upstream_message_that_echoes_the_token_is_masked(
    facade: FacadeFactory, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """An error_msg with the URL in it reaches the caller without the token."""
    upstream.always("token", {"access_token": TOKEN, "expires_in": 2592000})
    upstream.always("search", error(424242, f"bad call /x?access_token={TOKEN} done"))
    with pytest.raises(grpc.RpcError) as caught:
        facade().SearchImages(CALLS[1][1])
    text = str(caught.value) + str(v1.status_of(caught.value)) + caplog.text
    assert [] == sorted(piece for piece in _pieces(TOKEN) if piece in text)
    assert "bad call" in text
