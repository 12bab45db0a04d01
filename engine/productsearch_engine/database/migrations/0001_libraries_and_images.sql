create extension if not exists vector;

-- A credential pair. It outlives its library, so a token can be valid for an app whose
-- library is not there (216017).
create table apps (
    id bigint generated always as identity primary key,
    api_key text not null unique,
    -- SHA-256 is enough: the secret is 190 random bits, not a password to be guessed.
    secret_digest bytea not null,
    created_at timestamptz not null default now()
);

create table libraries (
    id bigint generated always as identity primary key,
    app_id bigint not null unique references apps,
    name text not null unique,
    capacity bigint not null check (capacity > 0),
    -- The constraint, not a lock, keeps concurrent adds from overfilling a library.
    image_count bigint not null default 0 check (image_count >= 0),
    embedding text not null,
    dimensions int not null,
    created_at timestamptz not null default now(),
    constraint libraries_room check (image_count <= capacity)
);

-- One partition a library (images_<id>), each with an HNSW index of its own dimensions:
-- searches of one library never walk another's graph, and dropping a library is cheap.
create table images (
    library_id bigint not null,
    sign bigint not null,
    digest bytea not null,
    brief bytea not null,
    class_id1 int,
    class_id2 int,
    embedding halfvec not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (library_id, sign),
    unique (library_id, digest)
) partition by list (library_id);

create index images_class_id1 on images (class_id1) where class_id1 is not null;
create index images_class_id2 on images (class_id2) where class_id2 is not null;
