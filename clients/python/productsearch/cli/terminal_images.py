"""Draws images in the terminal where it can show them: kitty's protocol and iTerm2's.

Which one a terminal speaks is read from the environment. Inside tmux and screen none is tried: they
would print the bytes.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Protocol = Literal["kitty", "iterm2"]

_KITTY_CHUNK: Final = 4096
_ROWS: Final = 6
"""Height of an image in lines of text."""
_ITERM2_PROGRAMS: Final = ("iTerm.app", "WezTerm", "mintty")
_KITTY_PROGRAMS: Final = ("ghostty",)


def protocol(environment: Mapping[str, str], *, is_terminal: bool) -> Protocol | None:
    """Return what the terminal speaks; None: it shows no images."""
    if not is_terminal or "TMUX" in environment or environment.get("TERM", "").startswith("screen"):
        return None
    program = environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or program in _KITTY_PROGRAMS:
        return "kitty"
    return "iterm2" if program in _ITERM2_PROGRAMS else None


def current() -> Protocol | None:
    """Return what stdout's terminal speaks."""
    return protocol(os.environ, is_terminal=sys.stdout.isatty())


def drawn(png: bytes, spoken: Protocol) -> str:
    """Return the characters that draw a PNG; the line after it stands below the image."""
    if spoken == "iterm2":
        encoded = base64.b64encode(png).decode()
        options = f"inline=1;size={len(png)};height={_ROWS};preserveAspectRatio=1"
        return f"\x1b]1337;File={options}:{encoded}\a\n"
    encoded = base64.standard_b64encode(png).decode()
    chunks = [encoded[at : at + _KITTY_CHUNK] for at in range(0, len(encoded), _KITTY_CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        first = f"a=T,f=100,r={_ROWS}," if number == 0 else ""
        more = int(number < len(chunks) - 1)
        parts.append(f"\x1b_G{first}m={more};{chunk}\x1b\\")
    return "".join(parts) + "\n"
