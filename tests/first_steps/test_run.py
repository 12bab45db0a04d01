"""`make run` has products from the start, and what it prints finds them when pasted."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Final

import pytest

from demo.__main__ import Ports
from productsearch.v1 import (
    DeleteImageRequest,
    ImageRef,
    ProductSearchStub,
    SearchImagesRequest,
    connect,
    image_from_file,
)
from tests.console.person import Person
from tests.mesh.tools import tool
from tests.pictures import jpeg

ROOT: Final = Path(__file__).resolve().parents[2]
_LAST_LINE: Final = "Stop with Ctrl-C."
_PRODUCTS: Final = 24


class Run:
    """`make run` over a folder of its own, on free ports."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.printed = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Start it and return all that it prints until it has nothing more to say."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo", "run", "--port", "0", "--data", str(self.data)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.printed = ""
        for line in self._process.stdout:
            self.printed += line
            if _LAST_LINE in line:
                break
        return self.printed

    def stop(self) -> int:
        """Stop it as Ctrl-C does, and return its exit status."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGINT)
        status = process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
        return status

    @property
    def target(self) -> str:
        """The facade's address, as printed."""
        found = re.search(r"facade (127\.0\.0\.1:\d+)", self.printed)
        assert found is not None, self.printed
        return found[1]


def _examples(run: Run) -> dict[str, str]:
    """Return what stands below each heading."""
    _, *parts = re.split(r"^== (.+) ==$", run.printed, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _example(run: Run, kind: str) -> str:
    (found,) = (text for heading, text in _examples(run).items() if heading.startswith(kind))
    return found


def _pasted(command: str, path: str = "/usr/bin") -> str:
    program = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    done = subprocess.run(
        ["bash", "-c", f"PATH={path}:$PATH\n{program}"], cwd=ROOT, capture_output=True, text=True
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def _stored(run: Run) -> list[str]:
    (photo, *_) = sorted((run.data / "photos").glob("*.jpg"))
    with connect(run.target) as channel:
        request = SearchImagesRequest(image=image_from_file(photo), page_size=1000)
        return [hit.cont_sign for hit in ProductSearchStub(channel).SearchImages(request).results]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Return a started one.

    Its folder is outside pytest's, which other runs of pytest close to PostgreSQL's account.
    """
    with tempfile.TemporaryDirectory(prefix="productsearch-run-") as scratch:
        started = Run(Path(scratch) / "data")
        started.start()
        yield started
        assert 0 == started.stop()


def test_every_example_finds_the_product(run: Run) -> None:
    """Python and the command line; grpcurl has a test of its own. None is left out."""
    examples = _examples(run)
    kinds = [heading.split(":")[0] for heading in examples]
    assert ["Python", "grpcurl", *["The command line"] * 2, "Your own images"] == kinds
    for heading, command in examples.items():
        if heading.startswith(("Python", "The command line")):
            out = _pasted(command)
            assert re.search(r"\d+,\d+.*mug", out) or re.search(r"mug.*\d+,\d+", out), heading


@pytest.mark.slow
def test_the_grpcurl_example_finds_the_product(run: Run) -> None:
    """With the real grpcurl and the service's own reflection."""
    command = _example(run, "grpcurl")
    found = json.loads(_pasted(command, str(Path(tool("grpcurl")).parent)))
    assert 3 == len(found["results"])
    assert "mug" == json.loads(found["results"][0]["brief"])["name"]


def test_own_images_are_found(run: Run, tmp_path: Path) -> None:
    """The last example, with a folder and one of its images in place of the words."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "my-sku.jpg").write_bytes(jpeg(7))
    commands = _example(run, "Your own images").strip().split("\n\n")[0]
    out = _pasted(commands.replace("FOLDER", str(own)).replace("PHOTO", str(own / "my-sku.jpg")))
    assert re.search(r"1\t1\.000\t\d+,\d+\tmy-sku", out), out


def test_the_printed_sign_in_opens_the_console(run: Run) -> None:
    """Whoever follows the printed line sees the products."""
    found = re.search(r"(http://\S+)/console/ : sign in as (\S+), password (\S+)", run.printed)
    assert found is not None, run.printed
    person = Person(found[1])
    assert 303 == person.sign_in(found[2], found[3]).status_code
    assert "mug" in person.get("/console/").text
    person.close()


def test_its_files_name_the_ports_that_serve(run: Run) -> None:
    """Free ones, too: whoever reads them, as the doctors do, asks the servers that run."""
    settings = tomllib.loads((run.data / "service/settings.toml").read_text())
    told = (run.data / "env").read_text()
    engine = re.search(r"engine http://(127\.0\.0\.1:\d+)", run.printed)
    ports = re.search(r"Health is at (\S+) \(gRPC\), metrics are at http://(\S+)/", run.printed)
    assert engine is not None, run.printed
    assert ports is not None, run.printed
    assert [run.target, ports[1], ports[2]] == [
        settings[name] for name in ("listen", "admin_listen", "metrics_listen")
    ]
    assert f"export PRODUCTSEARCH_ENGINE_LISTEN={engine[1]}\n" in told
    assert f"export PRODUCTSEARCH_SETTINGS={run.data.resolve()}/service/settings.toml\n" in told
    assert f"export PRODUCTSEARCH_ENGINE_DATA={run.data.resolve()}/engine\n" in told
    assert f"export PRODUCTSEARCH_CLI_TARGET={run.target}\n" in told
    assert f". {run.data}/env" in run.printed


def test_a_second_run_over_the_same_folder_is_refused(run: Run) -> None:
    """It would write over the settings of the first; it says how to start one beside it."""
    settings = (run.data / "service/settings.toml").read_bytes()
    command = [sys.executable, "-m", "demo", "run", "--port", "0", "--data", str(run.data)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (1, "") == (done.returncode, done.stdout)
    assert f"another run is up over {run.data}" in done.stderr
    assert f"`.venv/bin/python -m demo run --port 0 --data {run.data}/second`" in done.stderr
    assert settings == (run.data / "service/settings.toml").read_bytes()


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """In one line, with a command that can be typed in the clone."""
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # taken already: by a run of the developer's own
            other.bind(("127.0.0.1", 50052))
            other.listen()
        done = subprocess.run(
            [sys.executable, "-m", "demo", "run", "--data", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (1, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert re.search(r"port \d+ of 127.0.0.1 is taken", done.stderr), done.stderr
    for command in ("make run PORT=50100", "make run PORT=0"):
        assert f"`{command}`" in done.stderr
        given = subprocess.run(
            ["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True
        )
        assert f'demo run --port "{command.partition("=")[2]}"' in given.stdout


def test_ports_can_be_chosen() -> None:
    """One number is the facade's port and names the other three; 0 takes free ones."""
    assert Ports() == Ports.beginning_at(None)
    assert (50100, 50101, 50102, 50103) == astuple(Ports.beginning_at(50100))
    assert (0, 0, 0, 0) == astuple(Ports.beginning_at(0))
    for wrong in ("65533", "-1", "x"):
        command = [sys.executable, "-m", "demo", "run", "--port", wrong]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert (2, True) == (done.returncode, "no port from 0 to 65532" in done.stderr)


def test_what_is_installed_is_told_in_a_line() -> None:
    """pip is quiet but for errors, and one line says how long it takes."""
    # Inside another make it would begin with the directory.
    again = ["make", "-n", "--no-print-directory", "-W", "requirements-run.lock", "demo"]
    recipe = subprocess.run(again, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert recipe[0].startswith('echo "installing ')
    assert "about a minute" in recipe[0]
    installs = [line for line in recipe if " pip install " in line]
    assert 2 == len(installs)
    assert all(" --quiet " in line for line in installs)


def test_the_products_are_added_once(run: Run) -> None:
    """A second start adds none, not even one that was deleted meanwhile."""
    assert f"library; adding {_PRODUCTS} took" in run.printed
    sign, *rest = _stored(run)
    with connect(run.target) as channel:
        request = DeleteImageRequest(image_ref=ImageRef(cont_sign=sign))
        ProductSearchStub(channel).DeleteImage(request)
    assert 0 == run.stop()
    assert "they were there before" in run.start()
    assert rest == _stored(run)
