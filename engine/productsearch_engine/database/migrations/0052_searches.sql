-- Searches by calls, counted by library and hour (UTC): engines add to a row every few seconds. Rows
-- older than the days that the console shows are deleted.
create table searches (
    library_id bigint not null references libraries on delete cascade,
    hour timestamptz not null,
    count bigint not null,
    primary key (library_id, hour)
);
