-- One row once the rows of images have a bucket, by which a cluster distributes them (docs/scaling.md).
-- `productsearch-engine database distribute` writes it, in a database without libraries.
create table bucket_layout (
    only_one boolean primary key default true check (only_one),
    -- Into how many shards each table is split. Null: the rows have buckets and are all here.
    shards int check (shards > 0)
);
