"""The calls that a search shows run as they are copied, and find what the page shows."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from demo.processes import Engine
from productsearch_engine.console.snippets import TARGET, Search, of
from productsearch_engine.embedding.interface import Box
from productsearch_engine.store.statements import ClassFilter
from tests.clients.running import ROOT, output_of
from tests.conftest import ServerFactory
from tests.console.conftest import Shop
from tests.console.person import signs_of
from tests.engine.image_files import jpeg
from tests.mesh.tools import need, tool

_GO_MODULE: Final = "github.com/productsearch/productsearch/clients/go"
_SIGN: Final = re.compile(r"\d+,\d+")
_NONE = ClassFilter(class_id1=None, class_id2=None, any_class=False)
_HARD: Final = "https://shop.example/a'b\"c\\d$(e)`f`?g=%s&h=1#{{ i }}字"
_PHOTO: Final = {"content": base64.b64encode(b"photo").decode(), "fit": True}
VARIANTS: Final = [
    Search(classes=_NONE),
    Search(url=_HARD, classes=_NONE),
    Search(classes=replace(_NONE, class_id1=3), least=0.25),
    Search(
        url=_HARD,
        classes=ClassFilter(class_id1=3, class_id2=65535, any_class=True),
        least=0.1,
        region=Box(0, 0.1, 0.5, 0.333),
    ),
]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The calls of a page, as somebody copies them, and the images that the page shows."""

    calls: dict[str, str]
    signs: list[str]
    folder: Path


@pytest.fixture
def shown(shop: Shop, server: ServerFactory, engine: Engine, tmp_path: Path) -> Shown:
    """A search with a filter, a least score and a part, its calls sent to a real service."""
    for n in range(4):
        shop.add(jpeg(n), f"b{n}", class_id1=str(1 + n % 2), class_id2="9")
    (tmp_path / "photo.jpg").write_bytes(jpeg(1))
    asked = shop.looker.send("/console/search", files={"image": ("a.jpg", jpeg(1))})
    query = asked.headers["location"].partition("?")[2]
    fields = [tuple(each.split("=")) for each in query.split("&")]
    part = {"left": "10", "top": "0", "width": "90", "height": "80"}
    filters = {"class_id1": "2", "class_id2": "9", "least": "0.01"}
    asked = shop.looker.send("/console/search/part", {**dict(fields), **part, **filters})
    page = shop.looker.get(asked.headers["location"])
    found = re.findall(r'aria-label="(\w+)">([^<]*)</pre>', page.text)
    calls = {name: html.unescape(text) for name, text in found}
    assert ["gRPC", "Python", "Go", "Java", "curl"] == [*calls]
    pair = {"api_key": shop.keys[0], "secret_key": shop.keys[1]}
    library = {"base_url": engine.url, "upstream": "engine", **pair}
    target = f"127.0.0.1:{server(library, reflection=True).port}"
    calls = {name: text.replace(TARGET, target) for name, text in calls.items()}
    signs = signs_of(page)
    assert 2 == len(signs)
    return Shown(calls=calls, signs=signs, folder=tmp_path)


def _pasted(text: str, folder: Path, **environment: str) -> str:
    """Return what a shell prints."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_python_and_curl_find_what_the_page_shows(shown: Shown, shop: Shop) -> None:
    """In the page's order: Python by the service, curl by the engine and the library's keys."""
    printed = output_of(sys.executable, "-c", shown.calls["Python"], cwd=shown.folder)
    assert shown.signs == _SIGN.findall(printed)
    keys = {"API_KEY": shop.keys[0], "SECRET_KEY": shop.keys[1]}
    answer = json.loads(_pasted(shown.calls["curl"], shown.folder, **keys))
    assert shown.signs == [hit["cont_sign"] for hit in answer["result"]]


@pytest.mark.parametrize("search", VARIANTS, ids=range(len(VARIANTS)))
def test_each_call_says_what_is_searched_with(search: Search, tmp_path: Path) -> None:
    """Whatever is in a URL: Python reads the call, and a shell gives the programs whole values."""
    calls = of("http://engine.example", search)
    compile(calls["Python"], "call", "exec")
    for program in ("curl", "grpcurl"):
        echo = tmp_path / program
        echo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; cat\n')
        echo.chmod(0o755)
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    path = f"{tmp_path}:{os.environ['PATH']}"
    said = _pasted(calls["curl"], tmp_path, PATH=path, API_KEY="a", SECRET_KEY="s").splitlines()
    assert (f"url={search.url}" in said) == bool(search.url)
    said = _pasted(calls["gRPC"], tmp_path, PATH=path).splitlines()
    (request,) = (json.loads(line) for line in said if line.startswith("{"))
    assert request["image"] == ({"url": search.url} if search.url else _PHOTO)
    assert request.get("min_score", 0) == search.least
    classes = request.get("class_filter", {})
    assert classes.get("class_id1") == search.classes.class_id1
    assert classes.get("operator") == ("OPERATOR_OR" if search.classes.any_class else None)
    assert (search.region is None) == ("region" not in request)


@pytest.mark.slow
def test_grpcurl_go_and_java_find_what_the_page_shows(shown: Shown) -> None:
    """In the page's order, by the service."""
    need("mvn")
    path = f"{Path(tool('grpcurl')).parent}:{os.environ['PATH']}"
    printed = _pasted(shown.calls["gRPC"], shown.folder, PATH=path)
    assert shown.signs == _SIGN.findall(printed)
    (shown.folder / "main.go").write_text(shown.calls["Go"])
    _made_a_module(shown.folder)
    assert shown.signs == _SIGN.findall(output_of("go", "run", ".", cwd=shown.folder))
    (shown.folder / "Search.java").write_text(shown.calls["Java"])
    run = ("java", "-cp", _java_path(), "Search.java")
    assert shown.signs == _SIGN.findall(output_of(*run, cwd=shown.folder))


@pytest.mark.slow
def test_each_go_and_java_call_compiles(tmp_path: Path) -> None:
    """With each kind of field, formatted as Go formats it."""
    need("mvn")
    for number, search in enumerate(VARIANTS):
        calls = of("http://engine.example", search)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "main.go").write_text(calls["Go"] + "\n")
        (folder / "Search.java").write_text(calls["Java"])
    _made_a_module(tmp_path)
    output_of("go", "vet", "./...", cwd=tmp_path)
    assert "" == output_of("gofmt", "-l", ".", cwd=tmp_path)
    for number in range(len(VARIANTS)):
        compiler = ("javac", "-Xlint:all", "-Werror", "-proc:none", "-d", "out", "-cp")
        output_of(*compiler, _java_path(), "Search.java", cwd=tmp_path / str(number))


def _made_a_module(folder: Path) -> None:
    for command in (
        "go mod init first",
        f"go mod edit -replace {_GO_MODULE}={ROOT / 'clients/go'}",
        "go mod tidy",
    ):
        output_of(*command.split(), cwd=folder)


@cache
def _java_path() -> str:
    java = ROOT / "clients/java"
    output_of("mvn", "-B", "-ntp", "-q", "package", "-Dmaven.test.skip=true", cwd=java)
    libraries = (java / "target/interop.classpath").read_text("utf-8").strip()
    return os.pathsep.join((str(java / "target/classes"), libraries))
