"""What the exit code of each command means. Scripts rely on it; docs/cli.md has the same table."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes; ``meaning`` is the row of the table in the document."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Make a code with its meaning."""
        made = int.__new__(cls, value)
        made._value_ = value
        made.meaning = meaning
        return made

    DONE = 0, "all done"
    FAULT = 1, "a fault of this program; please report it with the text"
    USAGE = 2, "the command was used wrongly; nothing was begun"
    SOME_REJECTED = 3, "done, but some images were rejected, or names not found"
    GO_ON_LATER = (
        4,
        "not finished: quota, time, a list or the disk; run the same command later and it goes on",
    )
    REFUSED = 5, "the service refused; asking again does not help"
    UNREACHABLE = 6, "the service or its upstream cannot be reached"
    INTERRUPTED = 130, "interrupted (Ctrl-C); run the same command and it goes on"
