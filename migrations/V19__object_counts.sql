-- The number of objects of each partner, so that the total of a list reads a few rows instead of counting all.
--
-- The number is the sum of the rows of a partner and a kind. Every statement that creates or deletes objects adds a row and
-- changes none, so that no write waits for another. Maintenance replaces the rows by their sum.

create table object_counts (
    partner_sid uuid not null,
    kind text collate "C" not null,
    -- How many more objects there are, or fewer.
    change bigint not null
)
-- The rows of a minute are replaced by a few: what they leave behind is removed soon.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create index object_counts_partner_idx on object_counts (partner_sid, kind) include (change);

do $migration$
declare
    counted record;
begin
    execute format($create$
        -- Runs with the rights of the owner: a release that does not know the table has no right to write it. Names the
        -- table with the schema: see V17.
        create function count_objects() returns trigger language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        as $body$
        begin
            if tg_op = 'TRUNCATE' then
                delete from %1$I.object_counts where kind = tg_argv[0];
            else
                insert into %1$I.object_counts (partner_sid, kind, change)
                select partner_sid, tg_argv[0], case tg_op when 'INSERT' then count(*) else -count(*) end
                from changed group by partner_sid;
            end if;
            return null;
        end
        $body$;
    $create$, current_schema());

    for counted in
        select * from (values ('did_groups', 'did_group'), ('short_codes', 'short_code'), ('dids', 'did')) as tables (name, kind)
    loop
        execute format($create$
            create trigger object_created after insert on %1$I referencing new table as changed
            for each statement execute function count_objects(%2$L);
            create trigger object_deleted after delete on %1$I referencing old table as changed
            for each statement execute function count_objects(%2$L);
            create trigger objects_truncated after truncate on %1$I
            for each statement execute function count_objects(%2$L);
            -- The triggers hold a lock, so that nothing is created or deleted before the end of the migration.
            insert into object_counts (partner_sid, kind, change)
            select partner_sid, %2$L, count(*) from %1$I group by partner_sid;
        $create$, counted.name, counted.kind);
    end loop;
end
$migration$;
