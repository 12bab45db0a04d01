"""deploy/compose/certificates.sh: what it makes first, and for callers that come later."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.mesh.gateway import DEPLOY


def _made(folder: Path, *callers: str) -> subprocess.CompletedProcess[str]:
    script = DEPLOY / "compose" / "certificates.sh"
    return subprocess.run(["sh", script, folder, *callers], capture_output=True, text=True)


def _trusted(folder: Path, name: str) -> bool:
    certificate, authorities = folder / f"{name}.crt", folder / "ca.crt"
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", authorities, certificate], capture_output=True
    )
    return done.returncode == 0


def test_a_third_caller_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    """It is trusted, the others still are, and what was made is not made again."""
    folder = tmp_path / "tls"
    assert 0 == _made(folder).returncode
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {"ca.crt", "tls.crt", "catalogue.crt", "shop.crt"} <= {*first}
    assert (0, 0) == (_made(folder).returncode, _made(folder, "shop").returncode)
    assert first == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert 0 == _made(folder, "shop", "stock").returncode
    assert [True] * 4 == [_trusted(folder, name) for name in ("tls", "catalogue", "shop", "stock")]
    assert {*first, "stock.crt", "stock.key"} == {file.name for file in folder.iterdir()}
    assert first["shop.key"] == (folder / "shop.key").read_bytes()


def test_a_caller_whose_name_is_no_file_is_refused(tmp_path: Path) -> None:
    """Nor does one replace the gateway's own certificate."""
    for name in ("a/b", "tls", "ca", ".a", ""):
        done = _made(tmp_path, name)
        assert (2, []) == (done.returncode, [*tmp_path.iterdir()]), name
