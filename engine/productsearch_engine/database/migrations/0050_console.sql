-- The console lists a library's images by time, page after page. Sorted by brief it reads the whole
-- library: an index on brief would make each change of a brief write the vector index anew.
create index images_created_at on images (created_at, sign);

-- People who sign in to the console, each for one library.
create table users (
    name text primary key,
    library_id bigint not null references libraries on delete cascade,
    role text not null check (role in ('look', 'edit')),
    -- Argon2id with its parameters and salt.
    password_hash text not null,
    created_at timestamptz not null default now()
);

-- What people changed in the console: the last ones of each library.
create table changes (
    id bigint generated always as identity primary key,
    library_id bigint not null references libraries on delete cascade,
    kind text not null check (kind in ('add', 'edit', 'delete', 'undo')),
    image_count int not null,
    who text not null,
    address text not null,
    changed_at timestamptz not null default now(),
    undone_at timestamptz
);

create index changes_library_id on changes (library_id, id);

-- What an undo needs, kept for a day. Of an added image only the sign, of an edited one the values
-- before, of a deleted one all.
create table changed_images (
    change_id bigint not null references changes on delete cascade,
    library_id bigint not null,
    sign bigint not null,
    -- As the change left it (add, edit) or found it (delete); whoever wrote later has another one.
    updated_at timestamptz not null,
    -- As an edit found it: undone, the image is as before, so the change before can be undone, too.
    updated_before timestamptz,
    brief bytea,
    class_id1 int,
    class_id2 int,
    digest bytea,
    embedding halfvec,
    -- The library's generation: the vector is of no use to another embedding.
    generation int,
    created_at timestamptz,
    webp bytea,
    primary key (change_id, sign)
);

create index changed_images_sign on changed_images (library_id, sign);

-- Images that were searched with, so that each result has an address. The newest of each library.
create table query_images (
    library_id bigint not null references libraries on delete cascade,
    digest bytea not null,
    generation int not null,
    embedding halfvec not null,
    webp bytea not null,
    asked_at timestamptz not null default now(),
    primary key (library_id, digest)
);
