-- The vectors that searches look for candidates in, apart from what changes: a table nearest_<id>
-- (library_id, sign, prefix) beside images_<id>, with the index of the vectors. An update of a brief or
-- of a class id leaves it alone. Triggers fill it, so that it holds also for an engine of the
-- version before, which goes on with images_<id> and the index that is there as long as it is.

-- The axes of a rotation, orthonormal: the prefix of a vector is its dot products with them.
create table axes (
    name text not null,
    number int not null,
    axis halfvec not null,
    primary key (name, number)
);

alter table libraries
    -- The generation whose vectors nearest_<id> has; of another one it is of no use. Null: none.
    add column nearest_generation int,
    -- Null: the prefix is the whole vector.
    add column nearest_axes text,
    -- Since when nearest_<id> has all images and an index. Null: it is being filled.
    add column nearest_since timestamptz;

-- The same of the other embedding, in reembedding_<id>_nearest. The generation is the library's own.
alter table reembeddings
    add column nearest_generation int,
    add column nearest_axes text;

create function nearest_prefix(of_axes text, whole halfvec) returns halfvec
language sql stable parallel safe as $$
    select case when of_axes is null then whole else (
        select array_agg(-(whole <#> axis) order by number)::halfvec from axes where name = of_axes
    ) end
$$;

create function note_nearest() returns trigger language plpgsql as $$
declare
    of_axes text;
begin
    select nearest_axes into of_axes from libraries
    where id = new.library_id and nearest_generation = generation;
    if found then
        execute format(
            'insert into nearest_%s (library_id, sign, prefix) values ($1, $2, $3)'
            ' on conflict (library_id, sign) do update set prefix = excluded.prefix',
            new.library_id
        ) using new.library_id, new.sign, nearest_prefix(of_axes, new.embedding);
    end if;
    return null;
end
$$;

-- Who loads many rows writes their prefixes itself, all at once, and says so.
create trigger images_nearest after insert on images
    for each row when (coalesce(current_setting('productsearch.prefixes', true), '') <> 'given')
    execute function note_nearest();

create or replace function forget_image() returns trigger language plpgsql as $$
declare
    other record;
begin
    delete from kept_images where library_id = old.library_id and sign = old.sign;
    if exists (
        select from libraries where id = old.library_id and nearest_generation = generation
    ) then
        execute format(
            'delete from nearest_%s where library_id = $1 and sign = $2', old.library_id
        ) using old.library_id, old.sign;
    end if;
    select r.nearest_generation = l.generation as has_nearest into other
    from reembeddings r join libraries l on l.id = r.library_id
    where r.library_id = old.library_id;
    if found then
        delete from late_images where library_id = old.library_id and sign = old.sign;
        execute format(
            'delete from reembedding_%s where library_id = $1 and sign = $2', old.library_id
        ) using old.library_id, old.sign;
        if other.has_nearest then
            execute format(
                'delete from reembedding_%s_nearest where library_id = $1 and sign = $2',
                old.library_id
            ) using old.library_id, old.sign;
        end if;
    end if;
    return null;
end
$$;

-- Both tables go with what they belong to, whichever engine deletes it.
create function drop_nearest() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'libraries' then
        execute format('drop table if exists nearest_%s', old.id);
    else
        execute format('drop table if exists reembedding_%s_nearest', old.library_id);
    end if;
    return null;
end
$$;

create trigger libraries_drop_nearest after delete on libraries
    for each row execute function drop_nearest();

create trigger reembeddings_drop_nearest after delete on reembeddings
    for each row execute function drop_nearest();
