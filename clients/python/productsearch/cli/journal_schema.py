"""The tables of a journal, the steps between its versions, and what writing a row takes."""

from __future__ import annotations

from typing import Final

_FIRST: Final = """
CREATE TABLE IF NOT EXISTS items (
    library TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    image TEXT NOT NULL,
    sku TEXT NOT NULL,
    brief TEXT NOT NULL,
    class_id1 TEXT NOT NULL,
    class_id2 TEXT NOT NULL,
    origin BLOB NOT NULL,
    fit INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'done', 'rejected')),
    cont_sign TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    log_id TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (library, key, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_sku ON items (library, sku);
CREATE INDEX IF NOT EXISTS items_sign ON items (library, cont_sign);
CREATE INDEX IF NOT EXISTS items_digest ON items (library, digest);
CREATE TABLE IF NOT EXISTS mappings (library TEXT PRIMARY KEY, mapping TEXT NOT NULL);
"""
_OURS: Final = """
ALTER TABLE items ADD COLUMN ours INTEGER NOT NULL DEFAULT 0;
UPDATE items SET ours = 1 WHERE cont_sign != '' AND EXISTS (
    SELECT 1 FROM items AS made WHERE made.library = items.library
    AND made.cont_sign = items.cont_sign AND made.outcome = 'created');
"""
"""The first version wrote 'updated' over 'created': such an image counts as another's."""

STEPS: Final = tuple(
    tuple(statement for statement in step.split(";") if statement.strip())
    for step in (_FIRST, _OURS)
)
"""The statements that lead from version n to n + 1, at place n."""
VERSION: Final = len(STEPS)

SETTLE_OLDER: Final = (
    "UPDATE items SET state = 'done', outcome = 'kept', reason = '', message = '' "
    "WHERE library = ? AND key = ? AND digest != ? AND state = 'rejected' AND cont_sign != ''"
)
"""An image that is in the library is not lost sight of when another takes its place."""
CLEAR: Final = (
    "DELETE FROM items WHERE library = ? AND key = ? AND digest != ? "
    "AND state IN ('rejected', 'sent')"
)
TAKE_BRIEF: Final = (
    "UPDATE items SET outcome = 'kept' WHERE library = :library AND cont_sign = :sign "
    "AND outcome != 'kept' AND (key != :key OR digest != :digest)"
)
_OF_IMAGE: Final = "WHERE library = :library AND cont_sign = :sign"
IS_OURS: Final = f"SELECT 1 FROM items {_OF_IMAGE} AND ours LIMIT 1"  # noqa: S608
SHARE_OURS: Final = f"UPDATE items SET ours = 1 {_OF_IMAGE} AND NOT ours"  # noqa: S608
