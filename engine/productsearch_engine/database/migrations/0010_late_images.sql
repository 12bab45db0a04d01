-- Where the product is in the image, if the caller of the add said so (left, top, width, height, each
-- 0 to 1): another embedding looks at the same part. An engine of the version before leaves it null.
alter table kept_images add column region float8[];

-- The images that were added since a library has a second embedding and have no vector in it yet.
-- The switch looks here, and not through the whole library, while calls wait.
create table late_images (
    library_id bigint not null references libraries on delete cascade,
    sign bigint not null,
    primary key (library_id, sign)
);

create function note_late_image() returns trigger language plpgsql as $$
begin
    if exists (select from reembeddings where library_id = new.library_id) then
        insert into late_images (library_id, sign) values (new.library_id, new.sign)
        on conflict do nothing;
    end if;
    return null;
end
$$;

create trigger images_late after insert on images
    for each row execute function note_late_image();

create or replace function forget_image() returns trigger language plpgsql as $$
begin
    delete from kept_images where library_id = old.library_id and sign = old.sign;
    if exists (select from reembeddings where library_id = old.library_id) then
        delete from late_images where library_id = old.library_id and sign = old.sign;
        execute format(
            'delete from reembedding_%s where library_id = $1 and sign = $2', old.library_id
        ) using old.library_id, old.sign;
    end if;
    return null;
end
$$;
