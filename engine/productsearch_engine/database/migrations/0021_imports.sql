-- How far each import of a file has come. It is written together with the rows that it speaks of, so
-- an import that was killed goes on exactly where it was.
create table imports (
    library_id bigint not null references libraries on delete cascade,
    -- What the file is known by: its size, its beginning and its end.
    source text not null,
    -- Bytes of the file, and rows, that are done: those that were neither added nor rejected were
    -- there already.
    position bigint not null default 0,
    rows_read bigint not null default 0,
    added bigint not null default 0,
    rejected bigint not null default 0,
    began_at timestamptz not null default now(),
    primary key (library_id, source)
);

-- An index of vectors that an import has dropped, to be built again when all is loaded: its whole
-- definition, as PostgreSQL told it.
create table dropped_indexes (
    library_id bigint not null references libraries on delete cascade,
    definition text not null,
    primary key (library_id, definition)
);
