"""Libraries of many images, made by SQL from one that was added, and all that is stored of them."""

from __future__ import annotations

from typing import Any

import psycopg

from productsearch_engine.store import signs

_COLUMNS = (
    "sign, digest, brief, class_id1, class_id2, i.embedding::text, i.created_at, i.updated_at, webp"
)


def multiply(connection: psycopg.Connection[Any], library: str, count: int) -> None:
    """Make ``count`` further images of the only one that a library has, each with its copy."""
    values = {"library": library, "count": count}
    connection.execute(
        "insert into images (library_id, sign, digest, brief, class_id1, embedding, created_at)"
        " select library_id, sign # n, digest || int4send(n), ('brief ' || n)::bytea, 1 + n %% 9,"
        " i.embedding, i.created_at + n * interval '1 second'"
        " from images i join libraries l on l.id = library_id, generate_series(1, %(count)s) n"
        " where l.name = %(library)s",
        values,
    )
    connection.execute(
        "insert into kept_images (library_id, sign, webp) select library_id, sign # n, webp"
        " from kept_images k join libraries l on l.id = library_id,"
        " generate_series(1, %(count)s) n where l.name = %(library)s",
        values,
    )
    connection.execute(
        "update libraries set image_count = image_count + %(count)s where name = %(library)s",
        values,
    )


def stored(connection: psycopg.Connection[Any], library: str) -> dict[str, tuple[Any, ...]]:
    """Return all that is stored of a library's images, by ``cont_sign``."""
    rows = connection.execute(
        f"select {_COLUMNS} from images i left join kept_images using (library_id, sign)"
        " join libraries l on l.id = library_id where l.name = %s order by sign",
        [library],
    ).fetchall()
    return {signs.to_text(row[0]): row[1:] for row in rows}


def counted(connection: psycopg.Connection[Any], library: str) -> int:
    """Return how many images a library says that it has."""
    row = connection.execute(
        "select image_count - lent_room_of(id) from libraries where name = %s", [library]
    ).fetchone()
    assert row
    return int(row[0])


def changes(connection: psycopg.Connection[Any], library: str) -> list[tuple[str, int, int]]:
    """Return each change of a library: its kind, its images, and those an undo would find."""
    return connection.execute(
        "select kind, c.image_count, (select count(*) from changed_images where change_id = c.id)"
        " from changes c join libraries l on l.id = library_id where l.name = %s order by c.id",
        [library],
    ).fetchall()


def last_change(connection: psycopg.Connection[Any], library: str) -> int:
    """Return the number of a library's last change."""
    row = connection.execute(
        "select max(c.id) from changes c join libraries l on l.id = library_id where l.name = %s",
        [library],
    ).fetchone()
    assert row
    return int(row[0])
