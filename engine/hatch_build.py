"""Builds what the wheel has beside its sources: the network of the embedding ``compact``.

Runs for wheels and for editable installs. A file that is there already is kept: its name has the
digest of the weights that it was made of.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Network(BuildHookInterface[Any]):
    """Puts the ONNX file into the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the file if it is not there, and tell hatchling to take it along."""
        del version
        sys.path.insert(0, self.root)
        from model_build import build

        folder = Path(self.root, "productsearch_engine", "embedding", "model")
        made = build.make(folder)
        build_data["artifacts"].append(str(made.relative_to(self.root)))
