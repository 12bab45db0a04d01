-- Class ids beside the prefixes: nearest_<id> (library_id, sign, class_id1, class_id2, prefix). A search with
-- a filter that many images pass reads them there, in a third of the bytes. No index has them, and
-- each page has room for one more row, so a change of class ids leaves the index of the vectors alone.

-- Tables without class ids are made anew; until then searches do without them.
update libraries set nearest_generation = null, nearest_since = null;
update reembeddings set nearest_generation = null;

create or replace function note_nearest() returns trigger language plpgsql as $$
declare
    of_axes text;
begin
    select nearest_axes into of_axes from libraries
    where id = new.library_id and nearest_generation = generation;
    if found then
        execute format(
            'insert into nearest_%s (library_id, sign, class_id1, class_id2, prefix)'
            ' values ($1, $2, $3, $4, $5)'
            ' on conflict (library_id, sign) do update set class_id1 = excluded.class_id1,'
            ' class_id2 = excluded.class_id2, prefix = excluded.prefix',
            new.library_id
        ) using new.library_id, new.sign, new.class_id1, new.class_id2,
            nearest_prefix(of_axes, new.embedding);
    end if;
    return null;
end
$$;

create function note_classes() returns trigger language plpgsql as $$
declare
    name text;
begin
    for name in
        select 'nearest_' || id from libraries
        where id = new.library_id and nearest_generation = generation
        union all
        select 'reembedding_' || l.id || '_nearest' from reembeddings r join libraries l
            on l.id = r.library_id and r.nearest_generation = l.generation
        where l.id = new.library_id
    loop
        execute format(
            'update %I set class_id1 = $1, class_id2 = $2 where library_id = $3 and sign = $4', name
        ) using new.class_id1, new.class_id2, new.library_id, new.sign;
    end loop;
    return null;
end
$$;

-- After images_change, in the order of their names: rows of images before those of prefixes.
create trigger images_classes after update on images
    for each row when (
        old.class_id1 is distinct from new.class_id1 or old.class_id2 is distinct from new.class_id2
    )
    execute function note_classes();
