-- A search by a part of an image is kept beside the search by the whole: its digest is of both the
-- image and the part. Null: of an engine of the version before, or the whole image.
alter table query_images
    -- The digest of the image itself.
    add column source bytea,
    -- The part: left, top, width, height, each 0 to 1.
    add column region float8[],
    -- Where the embedding found the product.
    add column subject float8[];

-- An undo of a delete gives back where the caller of the add said the product is.
alter table changed_images add column region float8[];

-- Searches that people keep, each with the image that it must find. The vector is of a generation;
-- for another embedding it is made anew, from the copy.
create table pins (
    id bigint generated always as identity primary key,
    library_id bigint not null references libraries on delete cascade,
    sign bigint not null,
    source bytea not null,
    generation int not null,
    embedding halfvec not null,
    webp bytea not null,
    region float8[],
    class_id1 int,
    class_id2 int,
    any_class boolean not null,
    who text not null,
    pinned_at timestamptz not null default now(),
    -- Of the last run: the rank of the image among the first hits, null if it was not among them.
    ran_at timestamptz,
    rank int,
    score float8
);

create unique index pins_of_library on pins (
    library_id, sign, source, coalesce(region, '{}'), coalesce(class_id1, 0), coalesce(class_id2, 0),
    any_class
);
