"""The engine's commands in this process, where it is not the start of one that is tested."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from demo.processes import Engine, ServerError
from productsearch_engine.cli import main
from tests.engine.databases import settings_of


def ran(engine: Engine, *arguments: str) -> str:
    """Run a command on a running engine's data and return its stdout. Raises ServerError."""
    return told_by(engine, *arguments)[0]


def told_by(engine: Engine, *arguments: str) -> tuple[str, str]:
    """Run a command on a running engine's data; return stdout and stderr. Raises ServerError."""
    told, wrong = io.StringIO(), io.StringIO()
    own = patch.dict(os.environ, settings_of(engine))
    with redirect_stdout(told), redirect_stderr(wrong), own:
        try:
            status = main([*arguments, "--data", str(engine.data)])
        except SystemExit as refused:  # argparse's
            status = int(refused.code or 0)
    if status:
        raise ServerError(f"status {status}: {wrong.getvalue().strip()}")
    return told.getvalue(), wrong.getvalue()
