-- The file that was added: its sides in pixels, upright, and its bytes. Null: of an image that an engine
-- of the version before added; that one names none of these columns and goes on reading and writing.
alter table images add column width int, add column height int, add column byte_count int;

-- An undo of a delete gives them back.
alter table changed_images add column width int, add column height int, add column byte_count int;

-- A table of another embedding's vectors becomes a partition, so it has the same columns.
do $$
declare
    own regclass;
begin
    for own in
        select to_regclass('reembedding_' || library_id) from reembeddings
        where to_regclass('reembedding_' || library_id) is not null
    loop
        execute format(
            'alter table %s add column if not exists width int, add column if not exists height int,'
            ' add column if not exists byte_count int', own
        );
    end loop;
end
$$;
