"""The program keeps numeric libraries to one thread, unless it is told otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from productsearch_engine import one_thread
from productsearch_engine.__main__ import main


def test_they_are_told_before_they_are_imported() -> None:
    """Until the program sets the variables no library has read them."""
    code = "import sys, productsearch_engine.__main__; print({'numpy', 'cv2'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set()" == done.stdout.strip()


def test_what_the_caller_says_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that is set is left; the others are 1."""
    for name in one_thread.ENVIRONMENT:
        monkeypatch.setenv(name, "7")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(sys, "argv", ["productsearch-engine", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out
    assert "3" == os.environ["OMP_NUM_THREADS"]
    assert "1" == os.environ["OPENBLAS_NUM_THREADS"]
    assert "1" == os.environ["OPENCV_FOR_THREADS_NUM"]
