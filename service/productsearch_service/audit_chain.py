"""The chain of digests through an audit stream: what a line looks like, and whether all are there.

Knows the text of lines. Does not know who writes them (``audit``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FIRST: Final = "0" * 64
"""What the first line has in place of the digest before."""
LINE: Final = re.compile(
    r'(\{"seq":(\d+),.*"previous":"([0-9a-f]{64})"),"digest":"([0-9a-f]{64})"\}'
)
BEGIN: Final = '{"seq":'
_GZIP: Final = b"\x1f\x8b"
_BEGINNING: Final = re.compile(r'\{"seq":(\d+)(,?)')
_WHOLE_DIGEST: Final = re.compile(r'"digest":"[^"]*".')


def digest(text: str) -> str:
    """Return the digest of a line without its own digest and the brace after it, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class Verdict:
    """What a check of the chain found."""

    lines: int = 0
    """Whole lines."""
    last: str = ""
    """Digest of the last one; empty if there is none."""
    wrong: list[str] = field(default_factory=list)
    """What was changed, put in, moved or removed, with its place."""
    cut: list[str] = field(default_factory=list)
    """Lines that were cut off, as by a crash; no line is missing because of them."""


def verify(files: Iterable[Path], after: str = FIRST, named: Collection[str] = ()) -> Verdict:
    """Check the chain through files, the oldest first; raise OSError.

    after: the digest that the first line follows; that of the stream's first line by default.
    named: digests that lines of the stream must have, such as those that the log has named.
    """
    verdict = Verdict(last=after)
    seq, missing = 0, {*named} - {after}
    torn: list[_Text] = []  # since the last whole line
    for text in _texts(files):
        line = LINE.fullmatch(text.content)
        if line is None:
            if _is_torn(text.content, seq + 1 if verdict.lines else None):
                torn.append(text)
            else:
                verdict.wrong.append(f"{text.where}: is no line of the stream: changed or put in")
            continue
        verdict.cut += [f"{each.where}: was cut off, as by a crash" for each in torn]
        if wrong := _wrong(line, verdict, seq):
            verdict.wrong.append(f"{text.where}: {wrong}")
        verdict.lines, verdict.last, seq = verdict.lines + 1, line[4], int(line[2])
        missing.discard(line[4])
        torn = []
    for text in torn:
        if text.ended:
            verdict.wrong.append(f"{text.where}: was cut off or changed, and no line follows it")
        else:
            verdict.cut.append(f"{text.where}: is cut off, or being written")
    for digest_of_log in sorted(missing):
        verdict.wrong.append(f"no line has the digest {digest_of_log}: lines were removed")
    return verdict


def _wrong(line: re.Match[str], verdict: Verdict, seq: int) -> str:
    """Return what is wrong with a line that follows number ``seq``; empty: nothing."""
    if digest(line[1]) != line[4]:
        return "was changed"
    if line[3] == verdict.last and (not verdict.lines or int(line[2]) == seq + 1):
        return ""
    if verdict.lines and int(line[2]) == 1 and line[3] == FIRST:
        return (
            "begins a new chain: the file before was renamed while no service ran, or it was"
            " replaced; verify each by itself, with --named the digest that the log has of its end"
        )
    if verdict.lines:
        return "does not follow the line before: lines are missing or moved"
    return (
        f"begins after line {int(line[2]) - 1}: give the older files too, or --after {line[3]} "
        "if they are kept elsewhere"
    )


def _is_torn(text: str, seq: int | None) -> bool:
    """Whether a text is the beginning of a line and no more: of number ``seq``, or of any."""
    begins = _BEGINNING.match(text)
    if begins is None:
        return BEGIN.startswith(text)
    number, on = begins.groups()
    if seq is not None and (number != str(seq) if on else not str(seq).startswith(number)):
        return False
    try:
        json.loads(text)
    except ValueError:
        return _WHOLE_DIGEST.search(text) is None
    return False


@dataclass(frozen=True, slots=True)
class _Text:
    where: str
    content: str
    ended: bool
    """Whether it ends with a line end, as all but the last of a file do."""


def _texts(files: Iterable[Path]) -> Iterator[_Text]:
    for path in files:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(None, "is no ordinary file", str(path))
        with path.open("rb") as packed:
            if packed.read(len(_GZIP)) == _GZIP:
                raise OSError(None, "is compressed; unpack it first", str(path))
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for number, text in enumerate(file, start=1):
                if text.strip("\r\n"):  # a copy may have other line ends
                    yield _Text(f"{path}:{number}", text.rstrip("\r\n"), text.endswith("\n"))
