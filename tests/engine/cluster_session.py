"""A session of all operations on a library: what each one told, without times and numbers of rows.

It is run on libraries with and without buckets, which have to tell the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Box
from productsearch_engine.embedding.load import DEFAULT, load
from productsearch_engine.store import search_statements, signs
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.details import Details
from productsearch_engine.store.gallery import Gallery, Stored, place_of
from productsearch_engine.store.images import (
    DuplicateError,
    Images,
    LibraryFullError,
    NewImage,
    half,
)
from productsearch_engine.store.journal import Author, Chosen, Journal, Values
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.originals import Original
from productsearch_engine.store.overview import Overviews
from productsearch_engine.store.pins import Pins
from productsearch_engine.store.plans import Borders, Plan
from productsearch_engine.store.queries import Queries
from productsearch_engine.store.recall import RecallSample
from productsearch_engine.store.rows import Progress
from productsearch_engine.store.selections import Selection
from productsearch_engine.store.statements import ClassFilter
from tests.engine.bulk_library import rows
from tests.engine.test_store import image

ME = Author(name="me", address="here")
EVERY = ClassFilter(class_id1=None, class_id2=None, any_class=False)
ONE = ClassFilter(class_id1=1, class_id2=None, any_class=False)
EITHER = ClassFilter(class_id1=1, class_id2=7, any_class=True)


@dataclass(frozen=True)
class _Shop:
    pool: ConnectionPool[Any]
    library: Library
    made: list[NewImage]

    @property
    def images(self) -> Images:
        return Images(self.pool)

    def now(self) -> list[tuple[Any, ...]]:
        """Return what is stored, and how much of it is counted and beside it."""
        page = Gallery(self.pool).page(self.library, Selection(), "brief", 1000)
        own = self.library.id
        with self.pool.connection() as connection:
            beside = connection.execute(
                f"select (select count(*) from nearest_{own}),"
                " (select count(*) from kept_images where library_id = %s),"
                " (select array_agg(array[sign, class_id1, class_id2] order by sign)"
                f" from nearest_{own})",
                [own],
            ).fetchone()
        count = Libraries(self.pool).named(self.library.name).image_count
        return [(count, beside), *map(_told, page)]


def session(pool: ConnectionPool[Any], name: str) -> list[Any]:
    """Run all operations on new libraries and return what they told."""
    made = [_drawn(seed) for seed in range(40)]
    shop = _Shop(pool, _library(pool, name, 1000), made)
    told: list[Any] = []
    for part in (_adds, _searches, _changes, _looks, _journal, _deletes, _bulk):
        told += [part.__name__, *part(shop), shop.now()]
    told += _small(pool, f"{name}-small")
    return told


def _adds(shop: _Shop) -> list[Any]:
    images, library = shop.images, shop.library
    added = [images.add(library, each) for each in shop.made]
    told: list[Any] = [added]
    try:
        images.add(library, shop.made[3])
    except DuplicateError as error:
        told.append(error.sign)
    images.keep(library, added[1], b"late copy")
    images.keep(library, added[1] ^ 1, b"of nobody")
    told += [images.find(library, each.digest) for each in shop.made[:4]]
    told.append(images.find(library, b"\xff" * 32))
    told.append(images.copies(library, [added[0], added[1], added[3], added[1] ^ 1]))
    return told


def _searches(shop: _Shop) -> list[Any]:
    library = replace(shop.library, image_count=len(shop.made))
    asked = shop.made[5]
    told: list[Any] = []
    for borders in (Borders(), Borders(exact_images=0, prefix_images=0, rare_share=0)):
        sample = RecallSample(shop.pool, share=1)
        images = Images(shop.pool, borders=borders, sample=sample)
        for classes in (EVERY, ONE, EITHER):
            for start, count in ((0, 10), (5, 30)):
                hits, more = images.search(
                    library, asked.embedding, classes, start, count, asked.digest
                )
                # Candidates by an index, and sums of distances, may differ in the last place.
                told.append(([(hit.sign, hit.brief, hit.same) for hit in hits], more))
        compared = sample.compare()
        told.append(compared and (compared.found, compared.wanted))
    vector = half(asked.embedding)
    values = {"embedding": vector, "digest": b"", "class_id1": 1, "class_id2": None}
    values |= {"start": 0, "count": 5, "candidates": 700, "stored": 5}
    with shop.pool.connection() as connection:
        values |= search_statements.prefix_of(connection, library, vector)
        text = search_statements.search(library, ONE, Plan.CLASS_INDEX)
        told.append([row[0] for row in connection.execute(text, values, binary=True)])
        if library.bucketed:
            # One PostgreSQL reads both indexes side by side, and so few images not at all.
            text = search_statements.search(library, EITHER, Plan.CLASS_UNION)
            both = values | {"class_id2": 2}
            assert connection.execute(text, both, binary=True).fetchall()
    found = Queries(shop.pool).stored(library, signs.derive(asked.digest, 0))
    told.append(found and (found.digest, found.region, found.vector.tolist()))
    return told


def _changes(shop: _Shop) -> list[Any]:
    images, library = shop.images, shop.library
    first, second, third = ([signs.derive(each.digest, 0)] for each in shop.made[:3])
    return [
        images.update(library, first, brief=b"new", class_id1=None, class_id2=None),
        images.update(library, second, brief=None, class_id1=5, class_id2=6),
        images.update(library, shop.made[2].digest, brief=b"", class_id1=None, class_id2=9),
        images.update(library, [third[0] ^ 1], brief=b"x", class_id1=1, class_id2=1),
        images.update(library, b"\xff" * 32, brief=b"x", class_id1=1, class_id2=1),
    ]


def _looks(shop: _Shop) -> list[Any]:
    gallery, library = Gallery(shop.pool), shop.library
    page = gallery.page(library, Selection(), "newest", 7)
    after = place_of(page[-1], "newest")
    several = (
        gallery.page(library, Selection(), "newest", 7, place=after),
        gallery.page(library, Selection(), "oldest", 5, place=after, backwards=True),
        gallery.page(library, Selection(class_id1=5, text="1"), "brief", 7),
        gallery.page(library, Selection(since=page[-1].created_at, class_id2=6), "newest", 7),
        gallery.find(library, [image.sign for image in page[::-1]]),
    )
    overview = Overviews(shop.pool).of(library)
    return [
        *([_told(image) for image in each] for each in several),
        gallery.facets(library),
        gallery.count(library, Selection(class_id1=1), 4),
        gallery.count(library, Selection(class_id2=6, text="1"), 100),
        [gallery.copy(library, image.sign) for image in page],
        (overview.second, [count for _, count in overview.adds], overview.vector_index_valid),
        Pins(shop.pool).list(library),
    ]


def _journal(shop: _Shop) -> list[Any]:
    journal, library = Journal(shop.pool), shop.library
    own = [signs.derive(each.digest, 0) for each in shop.made]
    told: list[Any] = []

    def undone(change: int | None) -> None:
        assert change is not None
        told.append(shop.now())
        told.append(journal.undo(library, change, ME))

    brief = Values(brief=b"edited")
    change, count = journal.edit(library, [*own[4:9], own[4] ^ 1], brief, ME)
    told.append(count)
    undone(change)
    classes = Values(class_id1=None, class_id2=3, sets=frozenset({"class_id1", "class_id2"}))
    change, count = journal.edit(library, own[4:9], classes, ME)
    told.append(count)
    shop.images.update(library, [own[4]], brief=b"since", class_id1=None, class_id2=None)
    undone(change)
    told.append(journal.edit(library, own[:1], brief, ME, versions=[1]))
    told.append(journal.edit(library, [own[0] ^ 1], brief, ME))
    seen = Gallery(shop.pool).find(library, own[5:9])
    each = {image.sign: b"own %d" % place for place, image in enumerate(seen[1:])}
    several = Values(brief=b"first", briefs=each, class_id1=8, sets=frozenset({"class_id1"}))
    signs_of, versions = [image.sign for image in seen], [image.version for image in seen]
    told.append(journal.edit(library, signs_of, several, ME, versions=[*versions[:3], 7]))
    told.append(
        journal.edit(library, [*signs_of, own[5] ^ 1], several, ME, versions=[*versions, 7])
    )
    change, count = journal.edit(library, signs_of, several, ME, versions=versions)
    told += [count, Details(shop.pool).some(library, [change or 0], 3)[change or 0]]
    undone(change)
    change, count = journal.delete(library, own[6:20], ME)
    told.append(count)
    shop.images.add(library, shop.made[7])
    undone(change)
    extra = shop.images.add(library, _drawn(77))
    undone(journal.note_add(library, extra, ME))
    told.append(journal.note_add(library, extra, ME))
    pair = own[21], own[22]

    def versions() -> dict[int, int]:
        return {each.sign: each.version for each in Gallery(shop.pool).find(library, [*pair])}

    stale = versions() | {pair[0]: 1}
    told.append(journal.merge(library, stale, pair[1], classes, ME))
    for values in (classes, None):
        told.append(shop.now())
        undone(journal.merge(library, versions(), pair[1], values, ME))
        told.append(shop.now())
    change, count = journal.empty(library, ME, 25)
    told.append(count)
    undone(change)
    journal.delete(library, own[30:32], ME)
    told.append(journal.purge(library, own[30:34]))
    told.append([(each.kind, each.image_count) for each in journal.last(library, 9, Chosen())])
    return told


def _deletes(shop: _Shop) -> list[Any]:
    images, library = shop.images, shop.library
    own = [signs.derive(each.digest, 0) for each in shop.made]
    return [
        images.delete(library, [*own[:3], own[0] ^ 1]),
        images.delete(library, own[:3]),
        images.delete(library, own[:3]),
        images.delete(library, shop.made[3].digest),
        images.delete(library, shop.made[3].digest),
        images.delete(library, [own[4]]),
    ]


def _bulk(shop: _Shop) -> list[Any]:
    bulk, index, library = BulkRows(shop.pool), BulkIndex(shop.pool), shop.library
    given = list(rows(60, dimensions=library.dimensions))
    # Of these one comes twice, and one has the sign of another.
    given.append(given[4])
    same = given[8].digest[:8] + given[9].digest[8:]
    given[9] = replace(given[9], sign=given[8].sign, digest=same)
    index.drop(library)
    told: list[Any] = [bulk.load(library, given[:40])]
    told.append(bulk.load(library, given, "file", [Progress(rows_read=n) for n in range(62)]))
    index.build(library, 0)
    index.analyze(library)
    told.append((bulk.progress(library, "file"), index.is_dropped(library)))
    told.append(sorted(bulk.stored(library, [each.digest for each in given])))
    told.append(len(bulk.stored(library, [each.digest for each in shop.made])))
    with bulk.reading(library) as reading:
        told.append([replace(row, created_at=None, updated_at=None) for row in reading])
    told.append(bulk.empty(library))
    return told


def _small(pool: ConnectionPool[Any], name: str) -> list[Any]:
    """A library that is full, keeps no copies, gets another name and is deleted."""
    known = Libraries(pool)
    library = _library(pool, name, 2)
    images = Images(pool)
    told: list[Any] = [images.add(library, _drawn(seed)) for seed in (1, 2)]
    try:
        images.add(library, _drawn(3))
    except LibraryFullError:
        told.append("full")
    rest = list(rows(4, dimensions=library.dimensions))
    known.grow(name, 2)
    told.append(BulkRows(pool).load(library, rest))
    LibrarySettings(pool).keep_images(name, False)
    bare = known.named(name)
    told.append(images.delete(bare, told[:2]))
    told.append(images.add(bare, _drawn(4)))
    told.append(images.find(bare, _drawn(4).digest))
    journal = Journal(pool)
    change, count = journal.delete(bare, told[-2:-1], ME)
    assert change is not None
    told.append((count, journal.undo(bare, change, ME)))
    told.append(BulkRows(pool).load(bare, rest))
    with BulkRows(pool).reading(bare) as reading:
        told.append([row.sign for row in reading])
    LibrarySettings(pool).keep_images(name, True)
    known.rename(name, f"{name}-2")
    known.delete(f"{name}-2")
    return told


def _library(pool: ConnectionPool[Any], name: str, capacity: int) -> Library:
    embedding = load(DEFAULT)
    known = Libraries(pool)
    known.create(
        name,
        capacity=capacity,
        embedding=embedding.name,
        dimensions=embedding.dimensions,
        api_key=None,
    )
    return known.named(name)


def _drawn(seed: int) -> NewImage:
    vector = np.random.default_rng(seed).normal(size=load(DEFAULT).dimensions)
    return replace(
        image(seed),
        brief=str(seed).encode(),
        class_id1=seed % 3 or None,
        class_id2=7 if seed % 5 == 0 else None,
        embedding=(vector / np.linalg.norm(vector)).astype(np.float32),
        kept=b"copy %d" % seed if seed % 2 else None,
        region=Box(0.1, 0.2, 0.3, 0.4) if seed % 4 == 1 else None,
        original=Original(600 + seed, 400, 70_000 + seed) if seed % 3 else None,
    )


def _told(image: Stored) -> tuple[Any, ...]:
    return (
        image.sign,
        image.brief,
        image.class_id1,
        image.class_id2,
        image.has_copy,
        image.original,
    )
