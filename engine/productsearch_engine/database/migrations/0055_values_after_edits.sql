-- What an edit made of an image, to be told on the page of changes. Null: by an engine of the version
-- before, or of a change of another kind; a brief is never null.
alter table changed_images
    add column brief_after bytea, add column class_id1_after int, add column class_id2_after int;
