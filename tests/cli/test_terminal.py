"""What a person sees: the command line in a pseudo-terminal, drawn as a terminal draws it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pexpect.fdpexpect as fdpexpect
import pyte
import pytest

from tests.fakes.remembering_upstream import RememberingUpstream
from tests.pictures import jpeg

_COLUMNS, _LINES = 100, 30
_PATIENCE_S = 60
_IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "productsearch.cli", *sys.argv[1:]])
"""


class Terminal:
    """A program in a terminal; ``lines`` is what stands on the screen."""

    def __init__(self, *arguments: str | Path) -> None:
        self._screen = pyte.Screen(_COLUMNS, _LINES)
        self._stream = pyte.ByteStream(self._screen)
        own, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
        # Not pexpect.spawn: it forks, and gRPC's threads in this process do not survive that.
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, *map(str, arguments)],
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(its)
        self._typed = fdpexpect.fdspawn(own, timeout=_PATIENCE_S)

    def expect(self, text: str) -> None:
        """Read until the text comes."""
        self._typed.expect(text)
        self._stream.feed(self._typed.before + self._typed.after)

    def type(self, keys: str) -> None:
        """Send keys."""
        self._typed.send(keys)

    def end(self) -> int:
        """Read to the end; return the exit code."""
        self._typed.expect(pexpect.EOF)
        self._stream.feed(self._typed.before)
        return self.process.wait(_PATIENCE_S)

    def close(self) -> None:
        """End the program if it has not ended."""
        self.process.kill()
        self.process.wait()
        self._typed.close()

    @property
    def lines(self) -> list[str]:
        """The lines that are not empty."""
        return [line.rstrip() for line in self._screen.display if line.strip()]


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Return a function that starts a command in a terminal."""
    begun: list[Terminal] = []

    def start(*arguments: str | Path) -> Terminal:
        begun.append(Terminal(*arguments))
        return begun[-1]

    yield start
    for terminal in begun:
        terminal.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of twenty images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(20):
        (folder / f"sku-{seed}.jpg").write_bytes(jpeg(seed))
    return folder


def test_an_import_shows_one_line_of_progress(
    terminal: Callable[..., Terminal], target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """Count, share, rate; it is rewritten, and at the end only the result stands there."""
    shop.delay_s = 0.25
    shown = terminal("import", photos, "--at-once", "2")
    shown.expect(r"\d+ of 20  \d+\.\d %  \d+\.\d/s")
    shop.delay_s = 0
    assert 0 == shown.end()
    assert not any("/s" in line for line in shown.lines)
    fields = dict(line.split(None, 1) for line in shown.lines)
    assert ("20", "20", "0") == (fields["total"], fields["created"], fields["left"])


def test_ctrl_c_finishes_what_is_under_way(
    terminal: Callable[..., Terminal], target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """130, and the same command goes on: nothing is added twice."""
    shop.delay_s = 0.3
    shown = terminal("import", photos, "--at-once", "2")
    shown.expect(r"[1-9]\d* of 20")
    shown.type("\x03")
    assert 130 == shown.end()
    assert "finishing what is under way" in " ".join(shown.lines)
    stored = len(shop.stored)
    assert 0 < stored < 20
    shop.delay_s = 0
    again = terminal("import", photos)
    assert 0 == again.end()
    assert f"done {stored} + rejected 0 + left {20 - stored} = total 20" == again.lines[0]
    assert {1} == {*shop.created.values()}


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_at_once(
    terminal: Callable[..., Terminal], target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """130 while the upstream still works; the next run settles what was under way."""
    shop.delay_s = 15
    shown = terminal("import", photos, "--at-once", "2")
    shown.expect("of 20")
    shown.type("\x03")
    shown.expect("once more to leave at once")
    began_s = time.monotonic()
    shown.type("\x03")
    assert 130 == shown.end()
    assert time.monotonic() - began_s < 10
    shop.delay_s = 0
    assert 0 == terminal("import", photos, "--json").end()
    assert (20, {1}) == (len(shop.stored), {*shop.created.values()})


@pytest.mark.slow
def test_sigterm_is_as_good(
    terminal: Callable[..., Terminal], target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """A job scheduler stops it as Ctrl-C does."""
    shop.delay_s = 0.3
    shown = terminal("import", photos, "--at-once", "2")
    shown.expect(r"[1-9]\d* of 20")
    shown.process.send_signal(signal.SIGTERM)
    assert 130 == shown.end()


def test_hits_are_a_table(terminal: Callable[..., Terminal], target: str, photos: Path) -> None:
    """With a frame and a head, as wide as the terminal and no wider."""
    assert 0 == terminal("add", photos / "sku-1.jpg", "--brief", "x" * 200).end()
    shown = terminal("search", photos / "sku-1.jpg")
    assert 0 == shown.end()
    text = "\n".join(shown.lines)
    assert ("score" in text, "1.000" in text, "┃" in text or "│" in text) == (True, True, True)
    assert 200 == text.count("x")


def test_sync_asks(
    terminal: Callable[..., Terminal], target: str, shop: RememberingUpstream, photos: Path
) -> None:
    """The plan is shown first; no means that nothing is done."""
    shown = terminal("sync", photos)
    shown.expect("go on")
    assert any(line.split() == ["adds", "20"] for line in shown.lines)
    shown.type("n\n")
    assert (0, {}) == (shown.end(), shop.stored)
    agreed = terminal("sync", photos)
    agreed.expect("go on")
    agreed.type("y\n")
    assert (0, 20) == (agreed.end(), len(shop.stored))


@pytest.mark.slow
def test_images_are_drawn_where_the_terminal_shows_them(
    terminal: Callable[..., Terminal],
    target: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In kitty the hits' images come with the hits; not with --no-images."""
    assert 0 == terminal("import", photos).end()
    monkeypatch.setenv("KITTY_WINDOW_ID", "1")
    for name in ("TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)
    shown = terminal("search", photos / "sku-1.jpg", "--source", photos, "-n", "2")
    shown.expect("\x1b_Ga=T")
    assert 0 == shown.end()
    plain = terminal("search", photos / "sku-1.jpg", "--no-images", "-n", "2")
    assert 0 == plain.end()
    assert any("1.000" in line for line in plain.lines)
