-- Retention runs through a function of the schema's owner, so that the service can run under a role that cannot delete
-- history entries by itself. The function deletes no entry that the owner's limit protects.

create table history_retention (
    -- There is at most one row. Without one, no entry is deleted.
    is_only boolean default true
        constraint history_retention_pkey primary key
        constraint history_retention_is_only check (is_only),
    -- The age that an entry has at least when it is deleted.
    months integer not null constraint history_retention_months check (months between 1 and 1200)
);

do $migration$
begin
    execute format($create$
        -- Deletes about `batch` entries that are older than `older_than` and than the owner's limit. Returns their number. The
        -- hash of an object's newest deleted entry becomes its anchor, so that the rest can be verified.
        create function prune_history(older_than timestamptz, batch bigint) returns bigint
        language plpgsql strict security definer
        -- No other role creates operators or functions in these schemas; tables are named with theirs.
        set search_path = pg_catalog, pg_temp
        set plan_cache_mode = force_custom_plan
        as $body$
        declare
            allowed timestamptz;
            deleted bigint;
        begin
            select now() - make_interval(months => limits.months) into allowed
            from %1$I.history_retention as limits;
            if allowed is null then
                return 0;
            end if;
            older_than := least(older_than, allowed);
            -- All entries of an object that are older than one that is found are deleted with it: a history loses its
            -- beginning, never its middle.
            with found as (
                select sid, max(version) as version
                from (
                    select sid, version from %1$I.history where date < older_than limit batch
                ) as oldest
                group by sid
            ), dropped as (
                delete from %1$I.history as entry using found
                where entry.sid = found.sid and entry.version <= found.version
                returning entry.sid, entry.version, entry.hash
            ), anchored as (
                insert into %1$I.history_anchors as anchor (sid, version, hash)
                select distinct on (sid) sid, version, hash from dropped order by sid, version desc
                on conflict (sid) do update set version = excluded.version, hash = excluded.hash
                where excluded.version > anchor.version
            )
            select count(*) into deleted from dropped;
            return deleted;
        end
        $body$
    $create$, current_schema());
end
$migration$;

revoke execute on function prune_history from public;
