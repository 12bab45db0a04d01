-- How long searches go on to find an image after it was deleted, as they may with the vendor. 0: not
-- at all.
alter table libraries add column delete_lag_s int not null default 0 check (delete_lag_s >= 0);

-- What they find: deleted images until then. Rows are only inserted and, once they are of no use,
-- deleted, so that deletes wait for nobody here; an image may have several.
create table deleted_images (
    id bigint generated always as identity primary key,
    library_id bigint not null references libraries on delete cascade,
    sign bigint not null,
    generation int not null,
    digest bytea not null,
    brief bytea not null,
    class_id1 int,
    class_id2 int,
    embedding halfvec not null,
    found_until timestamptz not null
);

create index deleted_images_found_until on deleted_images (library_id, found_until);

create function lag_behind_delete() returns trigger language plpgsql as $$
declare
    own libraries;
begin
    select * into own from libraries where id = old.library_id;
    if own.delete_lag_s > 0 then
        delete from deleted_images where id in (
            select id from deleted_images
            where library_id = old.library_id and found_until <= now()
            limit 10 for update skip locked
        );
        insert into deleted_images (library_id, sign, generation, digest, brief, class_id1,
            class_id2, embedding, found_until)
        values (old.library_id, old.sign, own.generation, old.digest, old.brief, old.class_id1,
            old.class_id2, old.embedding, now() + make_interval(secs => own.delete_lag_s));
    end if;
    return null;
end
$$;

-- A trigger: deletes of the console and of an engine of the version before count, too.
create trigger images_lag after delete on images
    for each row execute function lag_behind_delete();
