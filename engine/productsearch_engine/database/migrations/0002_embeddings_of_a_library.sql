-- Defaults are constants, so no table is rewritten; an engine of the version before this one names
-- none of these columns and goes on reading and writing.
alter table libraries
    -- A library's images are in images_<id>, from its first change of embedding on in
    -- images_<id>_<generation>: whoever still knows the table of before finds no table, never
    -- vectors of another embedding.
    add column generation int not null default 0,
    add column keep_images boolean not null default false,
    -- What a cosine is worth, {"cosines": [...], "scores": [...]}; null: what the embedding says.
    add column calibration jsonb;

-- The other embedding of a library, in the table reembedding_<id>: one that is being computed, or
-- the one before, for as long as it can be taken back.
create table reembeddings (
    library_id bigint primary key references libraries on delete cascade,
    embedding text not null,
    dimensions int not null,
    calibration jsonb,
    -- Until when it served the library; null if it has not yet.
    served_until timestamptz
);

-- A small copy of each image, for other embeddings and for people. One partition a library
-- (kept_<id>), as images has.
create table kept_images (
    library_id bigint not null references libraries on delete cascade,
    sign bigint not null,
    webp bytea not null,
    primary key (library_id, sign)
) partition by list (library_id);

-- Triggers and not statements of the engine's: they hold also for the version before.
create function forget_image() returns trigger language plpgsql as $$
begin
    delete from kept_images where library_id = old.library_id and sign = old.sign;
    if exists (select from reembeddings where library_id = old.library_id) then
        execute format(
            'delete from reembedding_%s where library_id = $1 and sign = $2', old.library_id
        ) using old.library_id, old.sign;
    end if;
    return null;
end
$$;

create trigger images_forget after delete on images
    for each row execute function forget_image();

create function change_image() returns trigger language plpgsql as $$
begin
    if exists (select from reembeddings where library_id = new.library_id) then
        execute format(
            'update reembedding_%s set brief = $2, class_id1 = $3, class_id2 = $4, updated_at = $5'
            ' where library_id = $6 and sign = $1', new.library_id
        ) using new.sign, new.brief, new.class_id1, new.class_id2, new.updated_at, new.library_id;
    end if;
    return null;
end
$$;

create trigger images_change after update on images
    for each row execute function change_image();
