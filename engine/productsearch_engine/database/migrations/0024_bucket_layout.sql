-- One row once the rows of images have a bucket, by which a cluster distributes them (docs/scaling.md).
-- `productsearch-engine database distribute` writes it, in a database without libraries.
create table bucket_layout (
    only_one boolean primary key default true check (only_one),
    -- Into how many shards each table is split. Null: the rows have buckets and are all here.
    shards int check (shards > 0)
);

-- What a table and its indexes take. On a cluster the coordinator has no rows of theirs and asks the
-- workers: `database distribute` replaces both.
create function table_bytes(of regclass) returns bigint language sql stable strict as
    'select pg_table_size(of)';
create function index_bytes(of regclass) returns bigint language sql stable strict as
    'select pg_indexes_size(of)';
