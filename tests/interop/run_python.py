"""The runner of the Python client, sync or asyncio: ``run_python.py PLAN REPORT [--asyncio]``.

Each reads its plan, makes the calls with the client library and writes what came back; it knows
no server and no expectation.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, it is not found

import asyncio
import json

from tests.interop import python_aio, python_sync


def main() -> None:
    """Run the plan and write the report."""
    plan_file, report_file = (name for name in sys.argv[1:] if not name.startswith("--"))
    plan = json.loads(Path(plan_file).read_text("utf-8"))
    asynchronous = "--asyncio" in sys.argv
    cases = asyncio.run(python_aio.run(plan)) if asynchronous else python_sync.run(plan)
    report = {"language": plan["language"], "cases": cases}
    Path(report_file).write_text(json.dumps(report), "utf-8")


if __name__ == "__main__":
    main()
