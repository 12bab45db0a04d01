-- Sorted by brief, too, each page of a library begins where the one before ended. Nearly every change
-- of a brief writes the other indexes anyway: a full page has no room for the row's next version.
create index images_brief on images (brief, sign);

-- A table of another embedding's vectors becomes a partition without building an index then.
do $$
declare
    own regclass;
begin
    for own in
        select to_regclass('reembedding_' || library_id) from reembeddings
        where to_regclass('reembedding_' || library_id) is not null
    loop
        execute format('create index on %s (brief, sign)', own);
    end loop;
end
$$;
