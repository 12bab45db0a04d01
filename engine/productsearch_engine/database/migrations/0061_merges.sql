-- Two images merged into one: an edit and a delete that are one change, with one undo.
alter table changes drop constraint changes_kind_check;
alter table changes add constraint changes_kind_check
    check (kind in ('add', 'edit', 'delete', 'merge', 'undo'));
