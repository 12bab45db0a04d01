-- Room that a library has lent to its writers, so that adds do not wait for each other at its one row
-- in libraries. libraries.image_count has lent room in it as if it were taken: the constraint
-- libraries_room keeps the capacity for whoever counts, an engine of the version before included.
-- An add takes a place from one of the library's stripes; images stored = image_count - all lent.
create table lent_room (
    library_id bigint not null references libraries on delete cascade,
    stripe int not null,
    lent bigint not null,
    primary key (library_id, stripe),
    constraint lent_room_left check (lent >= 0)
) with (fillfactor = 20);

create function lent_room_of(library bigint) returns bigint language sql stable as $$
    select coalesce(sum(lent), 0)::bigint from lent_room where library_id = library
$$;
