"""Records the sessions in README.md and docs/cli.md: ``python -m demo session`` rewrites them.

The commands are run for real, with the engine, in a folder of their own that has what `make run`
leaves there.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

from demo import drawing, stock
from demo.terminal import shown

_ROOT: Final = Path(__file__).resolve().parents[1]
_COLUMNS: Final = 80
_SHOWN_TARGET: Final = "127.0.0.1:50051"
_BRIEF: Final = """--brief '{"id":"{stem}"}'"""

SESSIONS: Final = {
    "README.md": (
        "productsearch search .run/photos/mug-red-wood.jpg --top 3",
        f"productsearch import .run/photos {_BRIEF} --verify 5",
        "productsearch search .run/photos/mug-red-wood.jpg --top 1",
        "productsearch find mug-red-wood --source .run/photos",
    ),
    "docs/cli.md": (
        "productsearch status",
        "productsearch plan photos --quota-qps 10 --price-per-1000 1.5 --currency EUR",
        f"productsearch import photos {_BRIEF}",
        "cp lamp.jpg photos/broken.jpg",
        "productsearch import photos/rejects.csv",
        f"productsearch import photos {_BRIEF} --verify 5",
        "productsearch search lamp-elsewhere.jpg --top 3 --source photos --sheet hits.png",
        "productsearch find ball-blue-white --source photos",
        "productsearch forget broken --source photos; rm photos/broken.jpg",
        f"rm photos/ball-blue-white.jpg; productsearch sync photos {_BRIEF} --yes",
        "productsearch search lamp.jpg --target 127.0.0.1:1",
    ),
}
"""File -> the commands of the session in it, which has a library of its own."""

_BLOCK: Final = re.compile(r"(<!-- recorded by demo/session.py -->\n```\n)(.*?)(```\n)", re.DOTALL)


def recorded(file: str, folder: Path, target: str) -> str:
    """Run a file's session in an empty folder against an empty library; return its text."""
    _furnish(folder, target)
    environment = {
        name: value for name, value in os.environ.items() if "PRODUCTSEARCH" not in name
    } | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRODUCTSEARCH_CLI_TARGET": target,
        "PRODUCTSEARCH_CLI_CONFIG": str(folder / "no-config.toml"),
    }
    text = "".join(
        f"$ {command}\n{shown(command, folder, environment, _COLUMNS)}"
        for command in SESSIONS[file]
    )
    return text.replace(target, _SHOWN_TARGET)


def written(file: str) -> str:
    """Return the session that stands in a file."""
    found = _BLOCK.search((_ROOT / file).read_text("utf-8"))
    return found[2] if found else ""


def write(file: str, text: str) -> None:
    """Replace the session in a file."""
    path = _ROOT / file
    made, count = _BLOCK.subn(
        lambda block: block[1] + text + block[3], path.read_text("utf-8"), count=1
    )
    if not count:
        raise ValueError(f"{file} has no place for a recorded session")
    path.write_text(made, "utf-8")


def _furnish(folder: Path, target: str) -> None:
    """Write what the commands read: the demo's products, one more lamp, a folder of photos."""
    stock.imported(stock.written(folder / ".run"), target)
    (folder / "lamp.jpg").write_bytes(drawing.draw("lamp", "red", "white"))
    (folder / "lamp-elsewhere.jpg").write_bytes(drawing.draw("lamp", "red", "wood"))
    photos = folder / "photos"
    photos.mkdir()
    for shape in ("bag", "ball", "bottle", "box", "jar", "mug"):
        name = f"{shape}-blue-white"
        (photos / f"{name}.jpg").write_bytes(drawing.draw(shape, "blue", "white"))
    (photos / "broken.jpg").write_bytes(b"this is not an image")
