"""Everything that callers, and upstreams, may do to the others, at full size; a line a measure.

Runs the modules beside this one as processes of their own, one after the other, and fails if one
of them is short.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

_MODULES = ("silence", "images", "upstream", "framing", "engine", "engine_images")


def main() -> int:
    """Run those that are named, or all that there are; return 0 if none is short."""
    parser = argparse.ArgumentParser(prog="python -m tests.abuse", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="module", help=", ".join(_MODULES))
    chosen = parser.parse_args().modules
    if unknown := {*chosen} - {*_MODULES}:
        parser.error(f"no module is called {', '.join(sorted(unknown))}")
    worst = 0
    for module in chosen or _MODULES:
        print(f"== {module}", flush=True)
        command = [sys.executable, "-u", "-m", f"tests.abuse.{module}"]
        worst = max(worst, abs(subprocess.run(command).returncode))
    return worst


if __name__ == "__main__":
    sys.exit(main())
