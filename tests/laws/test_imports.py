"""Who may know whom: the architecture, read from the imports and from the path of one call."""

from __future__ import annotations

import ast
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from productsearch import v1
from productsearch_service import limits
from productsearch_service.identity.policy import METHODS
from productsearch_service.rpc.servicer import Servicer
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream
from tests.pictures import jpeg

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service/productsearch_service"

LAYERS = [
    {"__main__"},
    {"cli"},
    {"server"},
    {"observability"},
    {"rpc"},
    {"library"},
    {"audit", "images", "upstream", "identity"},
    {"call_context", "counters", "periodic_task", "redaction", "turns"},
    {
        "settings",
        "audit_chain",
        "batching",
        "tallies",
        "settings_library",
        "settings_places",
        "settings_reading",
        "settings_values",
        "limits",
        "errors",
        "time_limit",
        "traces",
        "small_file",
        "settings_words",
        "toml_text",
    },
]
"""From the top down. A folder or module may import what lies below it, and itself; beside itself
only in the two lowest layers, whose modules are single files."""
BESIDE = {
    ("batching", "limits"),
    ("errors", "limits"),
    ("settings", "limits"),
    ("settings", "settings_library"),
    ("settings", "settings_values"),
    ("settings_library", "limits"),
    ("settings_library", "settings_values"),
    ("settings_values", "limits"),
    ("settings_reading", "settings"),
    ("settings_reading", "settings_library"),
    ("settings_reading", "settings_places"),
    ("settings_reading", "settings_words"),
    ("settings_reading", "toml_text"),
    ("settings_reading", "small_file"),
    ("small_file", "limits"),
    ("toml_text", "small_file"),
    ("traces", "limits"),
}
GRPC = {"rpc", "server", "observability"}
PROTOS = {"rpc", "server"}
"""``server`` registers the servicer; nothing else of it knows a message."""
HTTP = {
    "aiohttp": {
        "upstream/http/transport.py",
        "upstream/http/answer.py",
        "upstream/http/names.py",
    },
    "yarl": {"upstream/http/transport.py"},
    "http.server": {"observability/http.py"},
}
FILES_PASSED_MAX = 15


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert found
    return found


def _place(path: Path) -> str:
    """Return the folder of a module of the service, or the module itself at the top."""
    return path.relative_to(SERVICE).parts[0].removesuffix(".py")


def _imports_any(imported: set[str], packages: set[str]) -> set[str]:
    return {
        name
        for name in imported
        for package in packages
        if name == package or name.startswith(f"{package}.")
    }


def test_service_and_engine_are_strangers() -> None:
    """They meet in the REST contract and nowhere else; the client knows neither."""
    for path in _files("service", "clients/python"):
        assert set() == _imports_any(_imports(path), {"productsearch_engine"}), path
    for path in _files("engine"):
        assert set() == _imports_any(_imports(path), {"productsearch_service", "productsearch"})
    for path in _files("clients/python"):
        assert set() == _imports_any(_imports(path), {"productsearch_service"}), path


def test_the_service_imports_downwards_only() -> None:
    """At most nine layers, every folder in one of them, and no import upwards or sideways."""
    assert len(LAYERS) <= 9
    level = {place: depth for depth, layer in enumerate(LAYERS) for place in layer}
    paths = [path for path in _files("service/productsearch_service") if path.name != "__init__.py"]
    assert {*level} == {_place(path) for path in paths}
    for path in paths:
        place = _place(path)
        for name in _imports(path):
            package, _, below = name.partition(".")
            below = below.partition(".")[0]
            if package != "productsearch_service" or below in ("", place):
                continue
            downwards = level[place] < level[below] or (place, below) in BESIDE
            assert downwards, f"{path.relative_to(SERVICE)} imports {name}"


@pytest.mark.parametrize("path", _files("service/productsearch_service"), ids=str)
def test_libraries_are_known_in_their_places_only(path: Path) -> None:
    """gRPC at the side of callers, HTTP at the side of the upstream, protos beside gRPC."""
    place, imported = _place(path), _imports(path)
    if place not in GRPC:
        assert set() == _imports_any(imported, {"grpc", "grpc_status", "grpc_health"})
    if place not in PROTOS:
        assert set() == _imports_any(imported, {"productsearch", "google"})
    for library, places in HTTP.items():
        if str(path.relative_to(SERVICE)) not in places:
            assert set() == _imports_any(imported, {library})


PRIVATE_NAMES_ALLOWED = {"_exit": "os._exit is documented; its underscore only warns"}
"""Names with an underscore that are used all the same, with the reason."""


def _private_names(path: Path) -> Iterator[str]:
    """Yield the private names that are imported, or read from what is not ``self`` or ``cls``."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))
            yield from (part for part in (node.module or "").split(".") if part.startswith("_"))
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "other")
            if not own and not (node.attr.startswith("__") and node.attr.endswith("__")):
                yield node.attr


@pytest.mark.parametrize("path", _files("service/productsearch_service"), ids=str)
def test_no_private_name_of_another_library_is_used(path: Path) -> None:
    """What a library does not document may change with any release of it."""
    found = {*_private_names(path)} - {"__future__"}
    assert set() == found - {*PRIVATE_NAMES_ALLOWED}


def test_what_is_written_by_hand_follows_the_proto() -> None:
    """The servicer has the service's methods and no others; so does the list for policies."""
    service = v1.AddImageRequest.DESCRIPTOR.file.services_by_name["ProductSearch"]
    methods = {*service.methods_by_name}
    assert methods == {name for name in vars(Servicer) if not name.startswith("_")}
    assert methods == {*METHODS}


def test_an_add_passes_few_files(
    facade: FacadeFactory, upstream: FakeUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """A newcomer follows one AddImage from the interceptor to the POST through at most 15 files.

    One of more than 16 KB has its fields counted, in `rpc/wire_format.py`.
    """
    passed: dict[str, None] = {}
    seen_post = threading.Event()

    def trace(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        ours = event == "call" and name.startswith(str(SERVICE)) and not seen_post.is_set()
        if ours and frame.f_code.co_name not in ("<lambda>", "<genexpr>", "<listcomp>"):
            passed.setdefault(str(Path(name).relative_to(SERVICE)))

    def answer(_: object) -> dict[str, Any]:
        seen_post.set()
        return {"log_id": 1, "cont_sign": "1,2"}

    image = v1.ImageSource(content=jpeg(1))
    request = v1.AddImageRequest(new_image=v1.NewImage(image=image, brief="b"))
    threading.setprofile(trace)
    try:
        stub = facade()  # its event loop's thread is begun under the profiler
    finally:
        threading.setprofile(None)
    stub.AddImage(request)  # connections and token are there now
    time.sleep(5 * limits.TOLD_WITHIN_S)  # and it was counted and logged
    passed.clear()
    upstream.always("add", answer)
    stub.AddImage(request)
    with capsys.disabled():
        sys.stdout.write(f"\nAddImage passes {len(passed)} files: {', '.join(passed)}\n")
    assert "upstream/http/transport.py" in passed, "nothing was seen"
    assert len(passed) <= FILES_PASSED_MAX
