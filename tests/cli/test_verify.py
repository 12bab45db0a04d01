"""An import over the real engine ends with a proof: altered images are found first."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import products
from demo.processes import Engine
from tests.cli.conftest import Cli
from tests.conftest import ServerFactory, library_of


@pytest.mark.slow
def test_altered_images_are_found_first(
    cli: Cli, engine: Engine, server: ServerFactory, tmp_path: Path
) -> None:
    """One image of each product: each altered one finds its own, not a stranger."""
    before_other_grounds, _ = products.drawn()
    one_of_each = {photo.product: photo for photo in before_other_grounds.stored}
    for photo in one_of_each.values():
        (tmp_path / f"{photo.product}.png").write_bytes(photo.content)
    target = f"127.0.0.1:{server(library_of(engine)).port}"
    ran = cli("import", tmp_path, "-t", target, "--verify", "5", "--json")
    (summary,) = ran.rows
    assert (0, 5, 0) == (ran.code, summary["verified"], summary["verify_missed"]), ran.err
