"""What compose runs once at its start, and the settings it gives the facade, outside containers."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from demo.processes import Engine
from productsearch import v1
from productsearch_service.identity.policy import Policy
from productsearch_service.settings import Settings
from tests.conftest import FacadeFactory
from tests.mesh.gateway import DEPLOY
from tests.pictures import jpeg

_COMPOSE = DEPLOY / "compose"


def _make_key_pair(engine: Engine, folder: Path) -> None:
    programs = str(Path(sys.executable).parent)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PRODUCTSEARCH_ENGINE_DATA": str(engine.data),
    }
    subprocess.run(
        ["sh", str(_COMPOSE / "key-pair.sh"), "compose", str(folder)],
        env=os.environ | environment,
        check=True,
    )


def test_the_key_pair_is_made_once_and_works(
    engine: Engine, facade: FacadeFactory, tmp_path: Path
) -> None:
    """A facade with the folder adds to the library; a second run changes nothing."""
    _make_key_pair(engine, tmp_path)
    made = {file.name: (file.read_text(), file.stat().st_mode) for file in tmp_path.iterdir()}
    assert {"api_key", "secret_key"} == set(made)
    assert {0o100600} == {mode for _, mode in made.values()}
    _make_key_pair(engine, tmp_path)
    assert made == {f.name: (f.read_text(), f.stat().st_mode) for f in tmp_path.iterdir()}
    library = {"base_url": engine.url, "credentials_dir": tmp_path}
    stub = facade(library | {"api_key": None, "secret_key": None})
    new_image = v1.NewImage(image=v1.ImageSource(content=jpeg(77)), brief="b")
    assert stub.AddImage(v1.AddImageRequest(new_image=new_image)).cont_sign


def test_the_facade_accepts_its_settings(tmp_path: Path) -> None:
    """Settings and policy are good; the gateway's fixed address is the only sidecar."""
    chosen = tomllib.loads((_COMPOSE / "settings.toml").read_text())
    chosen["libraries"]["default"]["credentials_dir"] = tmp_path
    chosen["policy_file"] = _COMPOSE / "policy.toml"
    for name in ("api_key", "secret_key"):
        (tmp_path / name).write_text("k")
    settings = Settings(**chosen)
    policy = Policy.parse((_COMPOSE / "policy.toml").read_bytes())
    shop = "spiffe://productsearch.example/shop"
    assert policy.explain(shop, "SearchImages", "default").allowed
    assert not policy.explain(shop, "AddImage", "default").allowed
    (sidecar,) = settings.sidecars
    compose = (DEPLOY / "compose.yaml").read_text()
    assert f"ipv4_address: {sidecar.network_address}" in compose
    assert 1 == sidecar.num_addresses
