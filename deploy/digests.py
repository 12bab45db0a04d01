"""Pins the images of Dockerfile and compose.yaml: ``name:tag`` becomes ``name:tag@sha256:…``.

For whoever reaches a registry, with crane, skopeo or docker installed. Images of this repository's
own and those that are pinned already to the digest of the moment stay as they are.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parent.parent
FILES: Final = (_ROOT / "Dockerfile", _ROOT / "deploy/compose.yaml")
_IMAGE: Final = re.compile(
    r"^(\s*(?:image:|FROM)\s+)([a-z0-9./-]+:[A-Za-z0-9._-]+)(@sha256:[0-9a-f]{64})?", re.MULTILINE
)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TOOLS: Final = (
    ("crane", "digest", "{}"),
    ("skopeo", "inspect", "--format", "{{.Digest}}", "docker://{}"),
    ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", "{}"),
)
"""Each prints the digest of an image for all platforms."""


class DigestError(Exception):
    """A digest could not be found out; the text says which and why."""


def pin(files: Iterable[Path]) -> list[str]:
    """Pin the images in these files and return what they are now; raise DigestError."""
    tool = next((each for each in _TOOLS if shutil.which(each[0])), None)
    if tool is None:
        raise DigestError(f"none of {', '.join(each[0] for each in _TOOLS)} is installed")
    found: dict[str, str] = {}
    contents = {}
    for file in files:
        contents[file] = file.read_text(encoding="utf-8")
        for _, name, _ in _IMAGE.findall(contents[file]):
            found[name] = found.get(name) or _digest(tool, name)
    # Nothing is written before all are known.
    for file, content in contents.items():
        file.write_text(_IMAGE.sub(lambda it: f"{it[1]}{it[2]}@{found[it[2]]}", content), "utf-8")
    return [f"{name}@{digest}" for name, digest in found.items()]


def _digest(tool: tuple[str, ...], name: str) -> str:
    command = [part.replace("{}", name) for part in tool]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    digest = told.stdout.strip()
    if told.returncode or not _DIGEST.fullmatch(digest):
        raise DigestError(f"{name}: {tool[0]} told no digest: {told.stderr.strip()[-200:]}")
    return digest


if __name__ == "__main__":
    try:
        sys.stdout.write("\n".join(pin(FILES)) + "\n")
    except DigestError as error:
        sys.exit(f"digests: {error}")
