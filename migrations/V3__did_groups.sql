-- DID groups: named sets of phone numbers with a callback URL.

create table did_groups (
    sid uuid constraint did_groups_pkey primary key,
    partner_sid uuid not null constraint did_groups_partner_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    callback_url text collate "C",
    name text collate "C" not null,
    -- What a short code refers to: a group together with its owner.
    constraint did_groups_partner_sid_key unique (partner_sid, sid)
) with (
    fillfactor = 85,
    -- As for short codes.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 100,
    autovacuum_vacuum_insert_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.02
);

create index did_groups_partner_idx on did_groups (partner_sid, ordinal);
