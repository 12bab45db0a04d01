"""Says how many images and products were read, and why their figures might mean little.

Knows labels and file names. Does not know what is measured.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from productsearch_engine.evaluation.dataset import BY_FOLDER, TABLE, Item, named

PRODUCTS_MIN = 10
"""With fewer products any embedding tells them apart."""

_FOLDERS_NAMED = 3


def described(items: Sequence[Item]) -> list[str]:
    """Return a sentence on the images and their labels, and one for each doubt about them."""
    products = {item.product for item in items}
    sources = " and ".join(dict.fromkeys(item.labelled_by for item in items))
    lines = [f"{len(items)} images, {len(products)} products ({sources})"]
    if len(products) < PRODUCTS_MIN:
        lines.append(
            f"warning: {len(products)} products are few, and hard to confuse: the figures say"
            f" little of a shop. Evaluate at least {PRODUCTS_MIN}."
        )
    lines += _copies(items)
    doubtful = list(_folders_of_several(items))
    lines += doubtful[:_FOLDERS_NAMED]
    if len(doubtful) > _FOLDERS_NAMED:
        lines.append(f"warning: so it is with {len(doubtful) - _FOLDERS_NAMED} further folders")
    return lines


def _copies(items: Sequence[Item]) -> Iterator[str]:
    """Yield a sentence if some files are the same, byte for byte."""
    sizes: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        with suppress(OSError):  # whoever reads its pixels tells it
            sizes[item.path.stat().st_size].append(item)
    pairs = []
    for size, alike in sizes.items():
        firsts: dict[bytes, Item] = {}
        for item in alike if size and len(alike) > 1 else ():
            first = firsts.setdefault(hashlib.sha256(item.path.read_bytes()).digest(), item)
            if first is not item:
                pairs.append((item, first))
    if pairs:
        item, first = next((pair for pair in pairs if pair[0].product != pair[1].product), pairs[0])
        told = f"{len(pairs)} files are copies of others, such as {item.path.name}"
        if item.product == first.product:
            yield f"warning: {told}: a copy is found at once, so the figures are too good"
        else:
            yield f"warning: {told}, which is {first.product} as {first.path.name}"


def _folders_of_several(items: Sequence[Item]) -> Iterator[str]:
    """Yield a sentence for each folder that counts as one product and seems to hold several."""
    folders: dict[Path, list[Item | None]] = defaultdict(list)
    for item in items:
        if item.labelled_by == BY_FOLDER:
            folders[item.path.parent].append(named(item.path))
    sizes = {
        folder: Counter(item.product for item in found if item) for folder, found in folders.items()
    }
    # What is called the same in several folders is a view or a camera's counter, no product.
    recurring = Counter(product for counted in sizes.values() for product in counted)
    for folder, found in folders.items():
        if (folder / TABLE).is_file():
            yield (
                f"warning: {folder} counts as one product; it has a {TABLE}, which is read only if"
                " that folder is evaluated by itself"
            )
            continue
        own = {
            product: size
            for product, size in sizes[folder].items()
            if size > 1 and recurring[product] == 1
        }
        if all(item.path.name.startswith(folder.name) for item in found if item):
            continue  # its name is the product's, and what follows it tells views apart
        if len(own) > 1 and 2 * sum(own.values()) >= len(found):
            example = next(item.path.name for item in found if item and item.product in own)
            yield (
                f"warning: {folder} counts as one product; by the names of its files, such as"
                f" {example}, it has {len(own)}: evaluate that folder by itself"
            )
