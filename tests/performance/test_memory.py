"""What the allocator keeps is used for the next image: fresh pages cost more than the copies."""

from __future__ import annotations

from pathlib import Path

from benchmarks import images
from demo.facade import Facade
from productsearch import v1
from tests.fakes.upstream import FakeUpstream
from tests.mesh.replicas import NO_DRAIN

_ADDS = 10
_IMAGE = images.of_size(images.SIZES["2.9 MB"])


def test_a_large_image_needs_few_fresh_pages(tmp_path: Path) -> None:
    """Of ten adds of 2.9 MB each takes less fresh memory than one copy of its image."""
    keys = {"default": ("k" * 20, "s" * 20)}
    with (
        FakeUpstream() as upstream,
        Facade(tmp_path, upstream.url, keys, environment=NO_DRAIN) as facade,
        v1.connect(facade.url) as channel,
    ):
        stub = v1.ProductSearchStub(channel)
        _add(stub)  # the first ones fetch what is kept
        before = _page_faults(facade.pid)
        _add(stub)
        faults = _page_faults(facade.pid) - before
    print(f"{faults / _ADDS:.0f} page faults an add")
    assert faults / _ADDS * 4096 < len(_IMAGE)


def _add(stub: v1.ProductSearchStub) -> None:
    for _ in range(_ADDS):
        image = v1.NewImage(image=v1.ImageSource(content=_IMAGE), brief="b")
        stub.AddImage(v1.AddImageRequest(new_image=image), timeout=20)


def _page_faults(pid: int) -> int:
    """Return the page faults of a process so far, without those that read a file."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])
