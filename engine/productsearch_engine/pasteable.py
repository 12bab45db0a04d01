"""A command of this program as a person can paste it into the same shell."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from productsearch_engine.settings import Settings, default_data


def pasteable(chosen: Settings, *words: str) -> str:
    """Return a command of the program as it was started, on the same data.

    words: the command and its arguments. A database is not named: it is in the environment,
    because it may hold a password.
    """
    program = Path(sys.argv[0])
    started = [sys.executable, "-m", __package__] if program.suffix == ".py" else [sys.argv[0]]
    is_named = not chosen.database and chosen.data != default_data()
    data = ["--data", str(chosen.data)] if is_named else []
    return shlex.join([*started, *words, *data])
