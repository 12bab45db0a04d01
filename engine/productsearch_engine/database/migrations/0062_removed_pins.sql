-- A pin that somebody removes can be brought back for a day.
alter table pins add column removed_at timestamptz;
