"""Fresh pages cost more than the copies that are made into them: images need few of them.

What the allocator keeps is used for the next image, the largest ones included.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import images
from demo.facade import Facade
from productsearch import v1
from productsearch_service import limits
from tests.fakes.upstream import FakeUpstream
from tests.mesh.replicas import NO_DRAIN

_ADDS = 10
_ROUNDS = 5
_IMAGE = images.of_size(images.SIZES["2.9 MB"])
_LARGE = images.of_size(images.SIZES["1 KB"]).ljust(limits.FIT_BYTES_MAX, b"\0")
"""What follows the end of the image is not decoded."""


@pytest.fixture
def facade(tmp_path: Path) -> Iterator[Facade]:
    """Return a facade over an upstream that answers at once."""
    keys = {"default": ("k" * 20, "s" * 20)}
    with (
        FakeUpstream() as upstream,
        Facade(tmp_path, upstream.url, keys, environment=NO_DRAIN) as facade,
    ):
        yield facade


@pytest.mark.parametrize(
    ("content", "fit"), [(_IMAGE, False), (_LARGE, True)], ids=["3 MB", "20 MB"]
)
def test_a_large_image_needs_few_fresh_pages(facade: Facade, content: bytes, fit: bool) -> None:
    """Once the heap has settled, ten adds take less fresh memory each than one copy of their image.

    Where nothing is kept each takes two copies, in every round. How soon a heap settles is chance.
    """
    assert _fresh_bytes(facade, content, fit=fit) < len(content)


def _fresh_bytes(facade: Facade, content: bytes, *, fit: bool = False) -> float:
    """Return the fresh memory that an add takes, in bytes: the least of some rounds of adds."""
    with v1.connect(facade.url) as channel:
        stub = v1.ProductSearchStub(channel)
        _add(stub, content, fit=fit)  # the first ones fetch what is kept
        faults = []
        for _ in range(_ROUNDS):
            before = _page_faults(facade.pid)
            _add(stub, content, fit=fit)
            faults.append(_page_faults(facade.pid) - before)
    print(f"{[each // _ADDS for each in faults]} page faults an add")
    return min(faults) / _ADDS * mmap.PAGESIZE


def _add(stub: v1.ProductSearchStub, content: bytes, *, fit: bool) -> None:
    for _ in range(_ADDS):
        image = v1.NewImage(image=v1.ImageSource(content=content, fit=fit), brief="b")
        stub.AddImage(v1.AddImageRequest(new_image=image), timeout=20)


def _page_faults(pid: int) -> int:
    """Return the page faults of a process so far, without those that read a file."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])
