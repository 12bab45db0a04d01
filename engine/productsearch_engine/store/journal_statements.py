"""The SQL of the journal: each change in one statement with its entry.

Runs nothing: ``store.journal`` does. Texts with ``{images}`` are for ``statements.composed``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

# The row is locked in the order of the signs, as other statements do.
_FOUND: LiteralString = """
with found as (
    select * from {images}
    where library_id = {library} and sign = any(%(signs)s)
    order by sign for update
),
change as (BEGIN),"""

BEGIN: LiteralString = """
    insert into changes (library_id, kind, image_count, who, address)
    select {library}, %(kind)s, count(*), %(who)s, %(address)s from found having count(*) > 0
    returning id
"""
GIVEN: LiteralString = "select %(change)s::bigint as id"
"""In the place of ``BEGIN``: of a change that has begun."""

LOCK: LiteralString = (
    "select sign, brief, class_id1, class_id2, updated_at from {images}"
    " where library_id = {library} and sign = any(%(signs)s){at} order by sign for update"
)
"""Of one bucket."""

# The entry has all of each image: an undo gives the same sign, vector and copy.
_TAKEN: LiteralString = """
saved as (
    insert into changed_images (change_id, library_id, sign, updated_at, brief, class_id1,
        class_id2, digest, embedding, generation, created_at, width, height, byte_count, webp,
        region)
    select CHANGE, {library}, f.sign, f.updated_at, f.brief, f.class_id1, f.class_id2, f.digest,
        f.embedding, %(generation)s, f.created_at, f.width, f.height, f.byte_count, (
            select webp from kept_images k where k.library_id = {library} and k.sign = f.sign
        ), (
            select region from kept_images k where k.library_id = {library} and k.sign = f.sign
        )
    from found f
),
deleted as (
    delete from {images} where library_id = {library} and sign in (select sign from found)
    returning sign
)"""

DELETE: LiteralString = """FOUNDTAKEN,
counted as (
    update libraries set image_count = image_count - (select count(*) from deleted)
    where id = {library} and exists (table deleted)
)
select (select id from change), (select count(*) from deleted)
""".replace("FOUND", _FOUND.replace("BEGIN", BEGIN)).replace(
    "TAKEN", _TAKEN.replace("CHANGE", "(select id from change)")
)

BEGIN_DELETE: LiteralString = """
insert into changes (library_id, kind, image_count, who, address)
values (%(library)s, 'delete', 0, %(who)s, %(address)s) returning id
"""

# One after another in a transaction, so that none takes longer than a statement may.
EMPTY: LiteralString = """
with found as (
    select * from {images}
    where library_id = {library} and (%(after)s::bigint is null or sign > %(after)s::bigint)
    order by sign limit %(count)s for update
),TAKEN
select (select count(*) from deleted), (select max(sign) from found)
""".replace("TAKEN", _TAKEN.replace("CHANGE", "%(change)s::bigint"))

# At the end: whoever adds waits for the library's row.
END_DELETE: LiteralString = """
with counted as (
    update libraries set image_count = image_count - %(deleted)s where id = %(library)s
)
update changes set image_count = %(deleted)s where id = %(change)s
"""

_NOTE_ADD: LiteralString = """
with found as (FOUND),
joined as (
    update changes set image_count = image_count + (
        select count(*) from found where not exists (
            select from changed_images where change_id = %(change)s::bigint and sign = %(sign)s
        )
    )
    where id = %(change)s::bigint and library_id = {library} and kind = 'add' and who = %(who)s
        and undone_at is null and changed_at > now() - make_interval(secs => %(seconds)s)
        and exists (table found)
    returning id
),
change as (
    insert into changes (library_id, kind, image_count, who, address)
    select {library}, 'add', 1, %(who)s, %(address)s from found where not exists (table joined)
    returning id
),
saved as (
    insert into changed_images (change_id, library_id, sign, updated_at)
    select c.id, {library}, f.sign, f.updated_at
    from (table joined union all table change) c, found f
    -- An image that was deleted, and added again by the same queue.
    on conflict (change_id, sign) do update set updated_at = excluded.updated_at
)
select (select id from (table joined union all table change) c), (select count(*) from found)
"""
NOTE_ADD: LiteralString = _NOTE_ADD.replace(
    "FOUND",
    # As it was added: whoever has changed it since, before this entry, has another time.
    "select sign, created_at as updated_at from {images}"
    " where library_id = {library} and sign = %(sign)s",
)
NOTE_ADD_OF: LiteralString = _NOTE_ADD.replace(
    "FOUND", "select %(sign)s::bigint as sign, %(updated_at)s::timestamptz as updated_at"
)
"""The same of an image that is known to be stored."""

BEGIN_UNDO: LiteralString = """
update changes set undone_at = now()
where id = %(change)s and library_id = %(library)s and undone_at is null
    and kind in ('add', 'edit', 'delete', 'merge', 'grow')
    and changed_at > now() - make_interval(secs => %(seconds)s)
returning kind, image_count
"""

# The delete that takes an add back: in batches, of the images that nobody has changed since.
UNDO_ADD: LiteralString = """
with looked_at as (
    select sign, updated_at from changed_images
    where change_id = %(added)s and library_id = {library}
        and (%(after)s::bigint is null or sign > %(after)s::bigint)
    order by sign limit %(count)s
),
found as (
    select i.* from {images} i join looked_at using (sign, updated_at)
    where i.library_id = {library} order by i.sign for update of i
),TAKEN
select (select count(*) from deleted), (select max(sign) from looked_at)
""".replace("TAKEN", _TAKEN.replace("CHANGE", "%(change)s::bigint"))

UNDO_EDIT: LiteralString = """
with found as (
    select i.sign, c.brief, c.class_id1, c.class_id2, c.updated_before
    from {images} i join changed_images c using (library_id, sign, updated_at)
    where c.change_id = %(change)s and i.library_id = {library} and c.digest is null
    order by i.sign for update of i
),
edited as (
    update {images} i set brief = f.brief, class_id1 = f.class_id1, class_id2 = f.class_id2,
        updated_at = f.updated_before
    from found f where i.library_id = {library} and i.sign = f.sign
    returning i.sign
)
select count(*) from edited
"""
"""Its row is the number of images that it restored: of an edit, or of a merge."""

# An image that was added again since stays as it is.
_UNDO_DELETE: LiteralString = """
with found as (
    select * from changed_images
    where change_id = %(change)s and generation = %(generation)s
        and (%(after)s::bigint is null or sign > %(after)s::bigint)
    order by sign limit %(count)s
),
back as (
    insert into {images} (library_id, sign, digest, brief, class_id1, class_id2, embedding,
        created_at, updated_at, width, height, byte_count)
    select {library}, sign, digest, brief, class_id1, class_id2, embedding, created_at,
        updated_at, width, height, byte_count
    from found on conflict do nothing returning sign
)KEPT
select (select count(*) from back), (select max(sign) from found)
"""

UNDO_DELETE: Mapping[bool, LiteralString] = {
    False: _UNDO_DELETE.replace("KEPT", ""),
    True: _UNDO_DELETE.replace(
        "KEPT",
        """,
kept as (
    insert into {kept} (library_id, sign, webp, region)
    select {library}, f.sign, f.webp, f.region from found f join back using (sign)
    where f.webp is not null
    on conflict do nothing
)""",
    ),
}
"""By whether the library keeps small copies: restores some images of a delete, the next by sign.

Its row: how many, and the last sign that was looked at. The library does not count them yet.
"""

COUNT_BACK: LiteralString = """
update libraries set image_count = image_count + %(restored)s
where id = %(library)s and %(restored)s > 0
"""

SHRINK: LiteralString = """
update libraries set capacity = capacity - %(by)s
where id = %(library)s and image_count <= capacity - %(by)s
"""

IS_LEFT: LiteralString = """
select bool_or(coalesce(generation, %(generation)s) = %(generation)s)
from changed_images where change_id = %(change)s having count(*) > 0
"""
"""Whether anything of a change's images is left to undo, and of the library's embedding."""

NOTE: LiteralString = """
insert into changes (library_id, kind, image_count, who, address)
values (%(library)s, %(kind)s, %(images)s, %(who)s, %(address)s) returning id
"""
"""Of what is done to the library itself."""

NOTE_UNDO: LiteralString = """
insert into changes (library_id, kind, image_count, who, address)
values (%(library)s, 'undo', %(restored)s, %(who)s, %(address)s) returning id
"""

FORGET: LiteralString = """
delete from changed_images using changes c where c.id = change_id and c.library_id = %(library)s
    and c.changed_at < now() - make_interval(secs => %(seconds)s)
"""
FORGET_ALL: LiteralString = FORGET.replace(" and c.library_id = %(library)s", "")
"""The same of all libraries, also where nobody changes anything any more."""

FORGET_CHANGES: LiteralString = """
delete from changes where library_id = %(library)s and id <= (
    select id from changes where library_id = %(library)s order by id desc limit 1 offset %(kept)s
) and changed_at < now() - make_interval(secs => %(seconds)s)
"""

# A purge leaves nothing of an image, and so does a day.
_RECENT: LiteralString = (
    "undone_at is null and kind in ('add', 'edit', 'delete', 'merge', 'grow')"
    " and changed_at > now() - make_interval(secs => %(seconds)s)"
)
_LEFT: LiteralString = (
    "(kind = 'grow' or exists (select from changed_images where change_id = changes.id))"
)
# The vector of a deleted image is of no use to another embedding: its small copy is.
_USABLE: LiteralString = (
    "(kind = 'grow' or exists (select from changed_images i where i.change_id = changes.id"
    " and (coalesce(i.generation, %(generation)s) = %(generation)s or i.webp is not null)))"
)

_CHANGES: LiteralString = (
    """
select id, kind, image_count, who, address, changed_at, undone_at is not null,
    RECENT and USABLE, RECENT and not LEFT,
    case when image_count = 1 and kind in ('add', 'edit')
        then (select sign from changed_images where change_id = changes.id) end,
    RECENT and LEFT and not USABLE
from changes where library_id = %(library)s""".replace("RECENT", _RECENT)
    .replace("LEFT", _LEFT)
    .replace("USABLE", _USABLE)
)

LAST: LiteralString = (
    _CHANGES
    + f"""
    and (%(before)s::bigint is null or id < %(before)s::bigint)
    and (%(kind)s::text is null or kind = %(kind)s::text)
    and (%(who)s::text is null or who = %(who)s::text)
    and (not %(undoable)s or ({_RECENT} and {_USABLE}))
order by id desc limit %(count)s
"""
)
FIND: LiteralString = _CHANGES + " and id = %(change)s"
PEOPLE: LiteralString = """
select distinct who from changes where library_id = %(library)s order by who limit %(count)s
"""
