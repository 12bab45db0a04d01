"""Every Python program in the client's README, followed literally but for the port."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.facade import Facade
from demo.processes import Engine
from tests.clients.running import CLIENT, output_of
from tests.interop.certificates import CALLER, Certificates
from tests.pictures import draw, encode, jpeg

_PLAIN, _TLS = "127.0.0.1:50051", "localhost:50443"

Program = Callable[[str], str]


def _programs(readme: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)


PROGRAMS = _programs(CLIENT / "README.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the programs run in, with the files that they read."""
    made = tmp_path_factory.mktemp("readme")
    (made / "image.jpg").write_bytes(jpeg(2))
    (made / "pear.png").write_bytes(encode(draw(3), "PNG"))
    files = Certificates(made)
    files.authority.rename(made / "ca.pem")
    files.caller_certificate.rename(made / "caller.pem")
    files.caller_key.rename(made / "caller.key")
    (made / "policy.toml").write_text(f'callers."{CALLER}" = {{}}\n[[rules]]\ncallers = ["*"]\n')
    return made


@pytest.fixture(scope="module")
def run(clean: Path, engine: Engine, folder: Path) -> Iterator[Program]:
    """Return a function that runs a program against a facade, plain or with TLS."""
    pairs = {"default": engine.create_library("readme")}
    quick = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
    tls = quick | {
        "PRODUCTSEARCH_TLS_CERT_FILE": str(folder / "localhost.pem"),
        "PRODUCTSEARCH_TLS_KEY_FILE": str(folder / "localhost.key"),
        "PRODUCTSEARCH_TLS_CLIENT_CA_FILE": str(folder / "ca.pem"),
        "PRODUCTSEARCH_POLICY_FILE": str(folder / "policy.toml"),
    }
    with (
        Facade(folder / "plain", engine.url, pairs, environment=quick) as plain,
        Facade(folder / "tls", engine.url, pairs, environment=tls) as guarded,
    ):

        def program(text: str) -> str:
            secure = f"localhost:{guarded.url.rpartition(':')[2]}"
            file = folder / "program.py"
            file.write_text(text.replace(_PLAIN, plain.url).replace(_TLS, secure))
            return output_of(clean, file.name, cwd=folder)

        yield program


def _program_with(text: str) -> str:
    (found,) = (program for program in PROGRAMS if text in program)
    return found


@pytest.mark.slow
def test_the_programs_pass_mypy_strict(clean: Path, tmp_path: Path) -> None:
    """A consumer's strict type check finds nothing in any of them."""
    for number, program in enumerate(PROGRAMS):
        (tmp_path / f"program_{number}.py").write_text(program)
    assert len(PROGRAMS) > 5
    names = sorted(file.name for file in tmp_path.glob("*.py"))
    assert "Success" in output_of(clean, "-m", "mypy", "--strict", *names, cwd=tmp_path)


@pytest.mark.slow
def test_the_programs_do_what_they_say(run: Program) -> None:
    """One after another: bulk add, search in each way, the duplicate's error, TLS."""
    stored = run(_program_with("bulk_add(")).splitlines()
    assert stored[0].startswith("image.jpg is stored as ")
    sign = stored[0].rpartition(" ")[2]
    assert "received_count: 1" in stored[1]
    hit = f"1.000 {sign} image.jpg"
    assert hit == run(_program_with("await stub.SearchImages")).strip()
    assert f"stored as {sign}\n{hit}" == run(PROGRAMS[0]).strip()
    assert f"{sign} image.jpg" == run(_program_with("search_all(")).strip()
    assert f"already there as {sign}" == run(_program_with("except grpc.RpcError")).strip()
    assert sign in run(_program_with("TlsConfig("))
    assert run(_program_with("batch_delete(")).strip().endswith(" IMAGE_NOT_FOUND")
    assert "" == run(_program_with("keepalive_without_calls=True"))


def test_the_filters_of_the_readme(run: Program) -> None:
    """What the text says of class ids, put together: the image is found by its class alone."""
    text = " ".join((CLIENT / "README.md").read_text("utf-8").split())
    new, search, either = re.findall(
        r"`(NewImage\(\.\.\., class[^`]*|SearchImagesRequest\(\.\.\., class[^`]*|operator=[^`]*)`",
        text,
    )
    first = search.replace("...", "image=image")
    program = f"""
from productsearch.v1 import *
from productsearch.v1 import connect, image_from_file
with connect("{_PLAIN}") as channel:
    stub = ProductSearchStub(channel)
    image = image_from_file("pear.png")
    new = {new.replace("...", 'image=image, brief="by class"')}
    stub.AddImage(AddImageRequest(new_image=new))
    for search in (
        {first},
        {first.replace("=7", "=8")},
        {first.replace("=7", f"=8, class_id2=7, {either}")},
        {first.replace("=7", f"=7, class_id2=8, {either}")},
    ):
        print([hit.brief for hit in stub.SearchImages(search).results if hit.score == 1.0])
"""
    assert run(program).splitlines() == ["['by class']", "[]", "[]", "['by class']"]
