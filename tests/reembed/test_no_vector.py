"""A model that sees nothing in one image: the change says which, and calls refuse it."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.processes import Engine, ServerError
from tests.embedding.test_onnx import FLAT, write
from tests.engine.calling import code_of
from tests.pictures import draw, encode
from tests.reembed.using import fill, library

pytestmark = pytest.mark.slow


def test_an_image_without_a_vector_is_named(engine: Engine, tmp_path: Path) -> None:
    """Nothing is lost: the old embedding serves, and without the image the change is made. Then
    calls with such an image are refused as for one that cannot be read."""
    black = encode(draw(0, 320, 320).point([0] * 768), quality=95)
    to = write(tmp_path, nodes=FLAT)
    with library(engine, "blind") as caller:
        signs = fill(caller, 3)
        sign = caller.call("add", image=black, brief="black")["cont_sign"]
        with pytest.raises(ServerError, match=f"gives no vector for the image {sign}: delete"):
            engine.command("reembed", "blind", "--embedding", to)
        assert 4 == len(caller.call("search", image=black)["result"])
        caller.call("delete", cont_sign=sign)
        assert "is served with onnx:" in engine.command("reembed", "blind", "--embedding", to)
        for method in ("add", "search"):
            assert 216201 == code_of(caller.call(method, image=black, brief="black"))
        found = caller.call("search", image=encode(draw(1, 320, 320), quality=80))["result"]
        assert {*signs} == {hit["cont_sign"] for hit in found}
