"""How the extras of the package are installed; needs none of them itself."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """Return the command: no index has the package, it is built from the repository."""
    return f"pip install './clients/python[{extra}]' in the repository's folder"
