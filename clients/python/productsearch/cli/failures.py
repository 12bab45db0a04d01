"""What ends a command: what happened, why, and what to do next. Knows no gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from productsearch.cli.exit_codes import ExitCode
from productsearch.cli.extras import how_to_install

if TYPE_CHECKING:
    from typing import Any


class Failure(Exception):
    """Ends the command with an exit code; ``next_step`` is what the user can do, if known."""

    def __init__(self, what: str, *, code: ExitCode, next_step: str = "", reason: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.code = code
        self.next_step = next_step
        self.reason = reason

    def lines(self) -> str:
        """Return the text for people."""
        return self.what + (f"\n  next: {self.next_step}" if self.next_step else "")

    def fields(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "error": self.what,
            "reason": self.reason,
            "next": self.next_step,
            "exit_code": int(self.code),
        }


def usage(what: str, next_step: str = "") -> Failure:
    """Return the failure of a command that was used wrongly."""
    return Failure(what, code=ExitCode.USAGE, next_step=next_step)


def missing_extra(extra: str, what_for: str) -> Failure:
    """Return the failure of a command that needs packages that are not installed."""
    return usage(f"{what_for} needs more packages", how_to_install(extra))
