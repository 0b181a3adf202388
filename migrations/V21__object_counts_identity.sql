-- object_counts has no key, and a server that publishes all tables to a logical replica rejects deletions without an identity.
alter table object_counts replica identity full;

do $migration$
begin
    execute format($create$
        create or replace function count_objects() returns trigger language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        as $body$
        begin
            if tg_op = 'TRUNCATE' then
                -- Maintenance may be replacing the rows by their sum, which the deletion would not see.
                lock table %1$I.object_counts in share row exclusive mode;
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
end
$migration$;
