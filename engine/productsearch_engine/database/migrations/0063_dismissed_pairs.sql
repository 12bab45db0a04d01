-- Pairs of images that somebody has said are not doubles: the list of doubles shows them no more. They
-- stay when an image is deleted, for it may come back; a purge erases them.
create table dismissed_pairs (
    library_id bigint not null references libraries on delete cascade,
    -- The lesser of both.
    sign bigint not null,
    other bigint not null check (other > sign),
    who text not null,
    dismissed_at timestamptz not null default now(),
    primary key (library_id, sign, other)
);
create index dismissed_pairs_of_other on dismissed_pairs (library_id, other);
create index dismissed_pairs_newest on dismissed_pairs (library_id, dismissed_at);
