-- Webhooks: the endpoints to which events are delivered, and the deliveries that have failed.
--
-- The history is the queue. An endpoint has a cursor, the place of the last entry that was delivered or skipped, and only an
-- event that could not be delivered makes a row.

do $migration$
begin
    execute format($create$
        -- The least epoch of what is committed later. Names the table with the schema: see V17.
        create function event_horizon() returns bigint language sql stable as $body$
            select (coalesce(max(generation), 0) << 48) + pg_snapshot_xmin(pg_current_snapshot())::text::bigint
            from %1$I.event_generations
        $body$;
    $create$, current_schema());
end
$migration$;

create table event_endpoints (
    sid uuid constraint event_endpoints_pkey primary key,
    partner_sid uuid not null constraint event_endpoints_partner_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    epoch bigint not null default 0,
    date_created timestamptz not null,
    date_old_secret_expires timestamptz,
    date_secret_changed timestamptz,
    descendants boolean not null,
    disabled_reason text collate "C",
    enabled boolean not null,
    -- Since when no delivery has succeeded. Changes without a new version.
    failing_since timestamptz,
    ordering text collate "C" not null
        constraint event_endpoints_ordering_known check (ordering in ('object', 'strict', 'none')),
    public_key text collate "C",
    -- Encrypted under a key of the settings.
    secrets bytea not null,
    -- Names with blanks between them.
    types text collate "C" not null,
    url text collate "C" not null,
    -- The cursor. It begins at the horizon of the transaction that creates the endpoint: everything that is committed later
    -- is delivered.
    cursor_epoch bigint not null default event_horizon(),
    cursor_sid uuid not null default '00000000-0000-0000-0000-000000000000',
    cursor_version bigint not null default 0,
    -- The instance that delivers; see event_dispatchers.
    dispatcher_sid uuid
) with (fillfactor = 70);

create index event_endpoints_partner_idx on event_endpoints (partner_sid, ordinal);
create unique index event_endpoints_ordinal_key on event_endpoints ((ordinal + 0));

-- The instances that deliver. One that has not been seen for some seconds has ended, and others take over its endpoints.
create table event_dispatchers (
    sid uuid constraint event_dispatchers_pkey primary key,
    seen_at timestamptz not null
) with (fillfactor = 50);

-- Events whose delivery has failed at least once, and events that wait behind them.
create table event_deliveries (
    endpoint_sid uuid not null
        constraint event_deliveries_endpoint_fkey references event_endpoints on delete cascade,
    object_sid uuid not null,
    version bigint not null,
    ordinal bigint generated always as identity,
    type text collate "C" not null,
    status text collate "C" not null
        constraint event_deliveries_status_known check (status in ('pending', 'delivered', 'failed')),
    -- Whether later events of the object, up to the cursor of the endpoint, wait for the end of this delivery.
    is_blocking boolean not null,
    date_created timestamptz not null default now(),
    date_ended timestamptz,
    -- When it is attempted again.
    next_attempt_at timestamptz,
    attempts integer not null,
    -- The attempts: date, status, error, milliseconds, the beginning of the answer.
    log jsonb not null,
    constraint event_deliveries_pkey primary key (endpoint_sid, object_sid, version),
    constraint event_deliveries_pending_next check ((status = 'pending') = (next_attempt_at is not null))
) with (fillfactor = 85);

create index event_deliveries_list_idx on event_deliveries (endpoint_sid, ordinal);
create index event_deliveries_due_idx on event_deliveries (endpoint_sid, next_attempt_at) where status = 'pending';
-- Maintenance deletes the ones that ended some days ago.
create index event_deliveries_ended_idx on event_deliveries (date_ended) where status <> 'pending';

-- Requests to deliver past events again. Each has a cursor of its own, and is deleted at its end.
create table event_replays (
    sid uuid constraint event_replays_pkey primary key,
    endpoint_sid uuid not null
        constraint event_replays_endpoint_fkey references event_endpoints on delete cascade,
    types text collate "C" not null,
    after timestamptz not null,
    before timestamptz not null,
    cursor_epoch bigint not null default 0,
    cursor_sid uuid not null default '00000000-0000-0000-0000-000000000000',
    cursor_version bigint not null default 0
) with (fillfactor = 85);

create index event_replays_endpoint_idx on event_replays (endpoint_sid);
