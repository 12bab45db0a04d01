"""A service whose standard streams were closed by whoever started it."""

from __future__ import annotations

from pathlib import Path

from demo.facade import Facade
from productsearch import v1
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import until_ready
from tests.pictures import jpeg

QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "1"}


def test_it_serves_and_stops(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Without an input and without a log; nothing else takes their descriptors."""
    process = Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=QUICK)
    process.run_by("bash", "-c", 'exec "$@" <&- 2>&-', "bash")
    with process:
        until_ready(process)
        with v1.connect(process.url) as channel:
            image = v1.ImageSource(content=jpeg(1))
            v1.ProductSearchStub(channel).SearchImages(v1.SearchImagesRequest(image=image))
        for number in (0, 2):
            assert "/dev/null" == str(Path(f"/proc/{process.pid}/fd/{number}").readlink())
        assert 0 == process.stop()
