-- How often an app's secret key was changed; a token says which one it was issued for. Tokens of the
-- version before say nothing, which stands for 0.
alter table apps add column key_number int not null default 0;

-- A trigger and not a statement of the engine's: it holds also for the version before.
create function count_key() returns trigger language plpgsql as $$
begin
    new.key_number := old.key_number + 1;
    return new;
end
$$;

create trigger apps_key before update of secret_digest on apps
    for each row when (new.secret_digest is distinct from old.secret_digest)
    execute function count_key();

-- How many calls an app may make; without a row, any number. Null: no such bound.
create table quotas (
    app_id bigint primary key references apps on delete cascade,
    per_second int check (per_second > 0),
    per_day bigint check (per_day > 0),
    in_total bigint check (in_total > 0),
    -- What was used, by the clock of the database: all engines count in this one row.
    second timestamptz not null default '-infinity',
    second_calls int not null default 0,
    day date not null default '-infinity',
    day_calls bigint not null default 0,
    total_calls bigint not null default 0
);

-- Count a call, or say which bound it would pass: 'second', 'day', 'total'. A call that is refused is
-- not counted. Days begin at midnight of UTC+8, where the vendor is.
create function take_call(app bigint) returns text language plpgsql as $$
declare
    quota quotas;
    now_second timestamptz;
    now_day date;
begin
    -- A crash of the database may forget the calls of its last half second; none waits for the disk.
    perform set_config('synchronous_commit', 'off', true);
    select * into quota from quotas where app_id = app for update;
    if not found then
        return null;
    end if;
    now_second := date_trunc('second', clock_timestamp());
    now_day := (clock_timestamp() at time zone 'UTC' + interval '8 hours')::date;
    if quota.second <> now_second then
        quota.second_calls := 0;
    end if;
    if quota.day <> now_day then
        quota.day_calls := 0;
    end if;
    if quota.total_calls >= quota.in_total then
        return 'total';
    elsif quota.day_calls >= quota.per_day then
        return 'day';
    elsif quota.second_calls >= quota.per_second then
        return 'second';
    end if;
    update quotas set second = now_second, second_calls = quota.second_calls + 1,
        day = now_day, day_calls = quota.day_calls + 1, total_calls = total_calls + 1
    where app_id = app;
    return null;
end
$$;
