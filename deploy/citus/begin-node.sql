-- Once for each node, when its data directory is made.
create extension if not exists citus;
create extension if not exists vector;
-- To move shards while they are written to, and to commit on several nodes.
alter system set wal_level = logical;
alter system set max_prepared_transactions = 400;
alter system set max_connections = 300;
-- The network is the cluster's own; with certificates this is sslmode=verify-full.
alter system set citus.node_conninfo = 'sslmode=prefer';
