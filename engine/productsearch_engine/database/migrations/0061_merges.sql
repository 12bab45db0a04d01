-- Two images merged into one: an edit and a delete that are one change, with one undo. And what people
-- do to a library itself: more room (image_count says for how many images), a new secret key.
alter table changes drop constraint changes_kind_check;
alter table changes add constraint changes_kind_check
    check (kind in ('add', 'edit', 'delete', 'merge', 'undo', 'grow', 'rotate'));
