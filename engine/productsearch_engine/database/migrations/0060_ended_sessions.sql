-- Sessions of the console that ended before their time, so that a copy of a cookie is of no use: one
-- session by its id, or all that somebody had begun by then.
create table ended_sessions (
    id bytea primary key,
    ended_at timestamptz not null
);
