-- The order of events. An event is an entry of the history, and its place in the order is (epoch, sid, version).
--
-- The epoch of an entry is the id of the transaction that writes it, below a generation; and not less than that of the version
-- before it, which a transaction with a greater id may have written. A transaction that runs has an id that is not below the
-- horizon, pg_snapshot_xmin(). Events below the horizon are therefore complete: none can appear among them later.
--
-- Transaction ids begin anew in another cluster, and repeat after a failover or a restore. Each of these begins a generation.

create table event_generations (
    generation bigint constraint event_generations_pkey primary key,
    system_identifier bigint not null,
    timeline text collate "C" not null,
    database_oid bigint not null,
    history_oid bigint not null,
    -- Whether webhooks wait until an operator resumes them, because the database may be a copy.
    is_paused boolean not null,
    date timestamptz not null default now()
);

-- The place of the last event in the order that retention has deleted. A reader that has not passed it has missed events.
create table event_floor (
    -- There is at most one row. Without one, nothing was deleted.
    is_only boolean default true
        constraint event_floor_pkey primary key
        constraint event_floor_is_only check (is_only),
    epoch bigint not null,
    sid uuid not null,
    version bigint not null
);

-- Entries from before have the epoch 0: they are older than every event.
alter table history add column epoch bigint not null default 0;
alter table partners add column epoch bigint not null default 0;
alter table oauth_tokens add column epoch bigint not null default 0;
alter table oauth_clients add column epoch bigint not null default 0;
alter table partner_logins add column epoch bigint not null default 0;
alter table did_groups add column epoch bigint not null default 0;
alter table short_codes add column epoch bigint not null default 0;
alter table did_stock add column epoch bigint not null default 0;
alter table dids add column epoch bigint not null default 0;

-- The functions name their tables with the schema, because pg_restore evaluates defaults without a search path.
do $migration$
begin
    execute format($create$
        -- Begins a generation if this database is another one than that of the newest generation. Every session calls it
        -- before it writes. Returns the newest generation.
        create function begin_event_generation() returns bigint language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        as $body$
        declare
            newest %1$I.event_generations;
            current %1$I.event_generations;
        begin
            select system_identifier, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
            into strict current.system_identifier, current.timeline
            from pg_control_system();
            select oid::bigint into strict current.database_oid from pg_database where datname = current_database();
            current.history_oid := '%1$I.history'::regclass::oid::bigint;
            loop
                select * into newest from %1$I.event_generations order by generation desc limit 1;
                if (newest.system_identifier, newest.timeline, newest.database_oid, newest.history_oid)
                    is not distinct from
                    (current.system_identifier, current.timeline, current.database_oid, current.history_oid)
                then
                    return newest.generation;
                end if;
                -- The key decides between two sessions. The other one reads the row of the first.
                insert into %1$I.event_generations
                    (generation, system_identifier, timeline, database_oid, history_oid, is_paused)
                values (
                    coalesce(newest.generation, 0) + 1, current.system_identifier, current.timeline,
                    current.database_oid, current.history_oid,
                    -- A promoted standby continues. A copy must not send webhooks beside the original.
                    newest.generation is not null and (newest.is_paused
                        or newest.system_identifier <> current.system_identifier
                        or newest.database_oid <> current.database_oid)
                )
                on conflict do nothing;
            end loop;
        end
        $body$;

        -- The least epoch of what the current transaction writes. Runs with the rights of the owner: a release that does not
        -- know the table has no right to read it.
        create function event_epoch() returns bigint language sql stable security definer
        set search_path = pg_catalog, pg_temp
        as $body$
            select (coalesce(max(generation), 0) << 48) + pg_current_xact_id()::text::bigint
            from %1$I.event_generations
        $body$;

        -- Skips a generation that exists, so that the data of a dump can be restored into a migrated database.
        create function event_generation_is_new() returns trigger language plpgsql as $body$
        begin
            if exists (select from %1$I.event_generations where generation = new.generation) then
                return null;
            end if;
            return new;
        end
        $body$;

        create or replace function prune_history(older_than timestamptz, batch bigint) returns bigint
        language plpgsql strict security definer
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
                returning entry.sid, entry.version, entry.hash, entry.epoch
            ), anchored as (
                insert into %1$I.history_anchors as anchor (sid, version, hash)
                select distinct on (sid) sid, version, hash from dropped order by sid, version desc
                on conflict (sid) do update set version = excluded.version, hash = excluded.hash
                where excluded.version > anchor.version
            ), raised as (
                insert into %1$I.event_floor as floor (epoch, sid, version)
                select epoch, sid, version from dropped order by epoch desc, sid desc, version desc limit 1
                on conflict (is_only) do update
                set epoch = excluded.epoch, sid = excluded.sid, version = excluded.version
                where (excluded.epoch, excluded.sid, excluded.version) > (floor.epoch, floor.sid, floor.version)
            )
            select count(*) into deleted from dropped;
            return deleted;
        end
        $body$;
    $create$, current_schema());
end
$migration$;

create trigger event_generation_is_new before insert on event_generations
for each row execute function event_generation_is_new();

-- A second step: with this default, adding the column would write every row. Releases that do not know the column use it.
alter table history alter column epoch set default event_epoch();

-- The events of a partner, in their order.
create index history_event_idx on history (partner_sid, epoch, sid, version)
    where epoch > 0 and kind in ('did', 'did_group', 'partner', 'short_code');
-- The events of all partners: which partners have new ones, and the newest one.
create index history_event_order_idx on history (epoch, sid, version)
    where epoch > 0 and kind in ('did', 'did_group', 'partner', 'short_code');
