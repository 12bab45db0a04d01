"""The evening ends all that it has started when a signal ends it, whenever that comes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.lifecycle.asking import until

EVENING = """
import sys, time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from demo.processes import Server
from tests.observability import evening

SLOW = "import sys,time; print('begun', file=sys.stderr, flush=True); time.sleep({}); " + (
    "print('listening on nowhere', flush=True); time.sleep(60)"
)

@contextmanager
def set_up():
    log = Path(sys.argv.pop())
    with ExitStack() as stack:
        for seconds in (0, float(sys.argv.pop())):
            server = Server([sys.executable, "-c", SLOW.format(seconds)], log, {})
            stack.enter_context(server)
        class Stage: folder, prometheus = log.parent, type("P", (), {"url": "none"})
        yield Stage, None

evening.set_up, evening.ACTS = set_up, ()
evening._dashboard_has_data = lambda _: True
sys.exit(evening.main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
@pytest.mark.parametrize("starts_s", [0, 60], ids=["all is up", "one still starts"])
def test_a_signal_ends_what_was_started(number: int, starts_s: int, tmp_path: Path) -> None:
    """Also where whoever started it ignores SIGINT, as a shell does for the background."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", EVENING, "--stay", str(starts_s), str(log)]
    ignores = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        evening = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, ignores)
    until(lambda: log.exists() and log.read_text().count("begun") == 2, "both have begun")
    servers = psutil.Process(evening.pid).children()
    if not starts_s:
        assert evening.stdout is not None
        assert any("stays up" in line for line in iter(evening.stdout.readline, ""))
    evening.send_signal(number)
    evening.communicate(timeout=30)
    assert 128 + number == evening.returncode
    assert (2, []) == (len(servers), [each for each in servers if each.is_running()])
