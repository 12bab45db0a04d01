"""``fit`` of a call that has ended holds no place, and is not begun if it was not yet."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from productsearch import v1
from productsearch_service import limits
from productsearch_service.images import fit as fitting
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import outcome, until
from tests.fakes.upstream import FakeUpstream
from tests.pictures import draw, encode


def _slow_image() -> bytes:
    """Return a small file that takes long to fit: it is scaled down from 10 million pixels."""
    return encode(draw(1, 4200, 2500), "PNG")


def _add(content: bytes, *, fit: bool = True) -> v1.AddImageRequest:
    image = v1.ImageSource(content=content, fit=fit)
    return v1.AddImageRequest(new_image=v1.NewImage(image=image, brief="b"))


class Fits:
    """Counts what is begun and what is done; the work itself is the real one."""

    def __init__(self, fit: Any) -> None:
        self._fit = fit
        self._lock = threading.Lock()
        self.begun = self.done = self.most_at_once = 0

    def __call__(self, *arguments: Any) -> Any:
        """Fit an image."""
        with self._lock:
            self.begun += 1
            self.most_at_once = max(self.most_at_once, self.begun - self.done)
        try:
            return self._fit(*arguments)
        finally:
            with self._lock:
                self.done += 1


def test_places_are_free_when_their_callers_have_left(
    watched: WatchedFactory, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten slow fits whose deadlines end, or that are cancelled: only the two under way go on.

    A call that comes then is served: one without fit at once, one with fit after those two.
    """
    fits = Fits(fitting.fit)
    monkeypatch.setattr(fitting, "fit", fits)
    facade = watched()
    request = _add(_slow_image())
    calls = [facade.stub.AddImage.future(request, timeout=0.5) for _ in range(5)]
    calls += [facade.stub.AddImage.future(request, timeout=30) for _ in range(5)]
    until(lambda: fits.begun >= limits.FIT_AT_ONCE)
    for call in calls[5:]:
        call.cancel()
    assert "OK" not in {outcome(call) for call in calls[:5]}
    until(lambda: facade.in_flight() == 0, seconds=1)
    assert fits.begun <= 2 * limits.FIT_AT_ONCE
    small = encode(draw(2), quality=80)
    assert "OK" == outcome(facade.stub.AddImage.future(_add(small, fit=False), timeout=5))
    assert "OK" == outcome(facade.stub.AddImage.future(_add(small), timeout=10))
    until(lambda: fits.begun == fits.done)
    assert fits.begun <= 2 * limits.FIT_AT_ONCE + 1
    assert fits.most_at_once <= limits.FIT_AT_ONCE
    assert 2 == len(upstream.calls)
    assert {} == facade.by_label("rpcs_total", "reason", code="INTERNAL")
