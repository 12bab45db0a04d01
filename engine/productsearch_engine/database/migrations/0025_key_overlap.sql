-- A secret key that was changed may serve beside the new one for a while, with its tokens.
alter table apps add column old_secret_digest bytea, add column old_until timestamptz;
