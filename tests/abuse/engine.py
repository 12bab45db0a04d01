"""The engine on a bad day, at full size: one line for each measure, and an exit code.

``python -m tests.abuse.engine`` runs all parts, with names of parts as arguments these alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Final

from tests.abuse import engine_bodies, engine_database, engine_requests, engine_sdks
from tests.soak.measures import Measure, report

PARTS: Final[dict[str, Callable[[], Iterator[Measure]]]] = {
    "database": engine_database.measures,
    "bodies": engine_bodies.measures,
    "requests": engine_requests.measures,
    "sdks": engine_sdks.measures,
}


def main() -> int:
    """Run the parts that were named, or all; return 1 if a measure is short."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    chosen = parser.parse_args().parts or [*PARTS]
    return max([report([*PARTS[name]()]) for name in chosen])


if __name__ == "__main__":
    sys.exit(main())
