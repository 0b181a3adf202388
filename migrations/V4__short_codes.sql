-- Short codes: numbers of 3 to 8 digits, each with its owner, its group and where its traffic goes.

create table short_codes (
    sid uuid constraint short_codes_pkey primary key,
    partner_sid uuid not null constraint short_codes_partner_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    attributes jsonb not null default '{}'
        constraint short_codes_attributes_object check (jsonb_typeof(attributes) = 'object'),
    callback_url text collate "C",
    country_code text collate "C" not null,
    did_group_sid uuid,
    locality text collate "C",
    lrn_sid uuid,
    name text collate "C" not null,
    short_code text collate "C" not null constraint short_codes_digits check (short_code ~ '^[0-9]{3,8}$'),
    state text collate "C",
    string_key_1 text collate "C",
    string_key_2 text collate "C",
    -- Composite, so that not even a bug can point a short code at another partner's group.
    constraint short_codes_did_group_fkey foreign key (partner_sid, did_group_sid)
        references did_groups (partner_sid, sid)
) with (
    fillfactor = 85,
    -- A total is counted in an index alone where vacuum has been since the last change. Pages tidy up themselves after updates in
    -- place, so that hardly a row is ever seen dead, and no share of the table would be reached: vacuum comes at every turn of
    -- autovacuum, and reads no more than the pages that changed. See docs/lists.md.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 100,
    autovacuum_vacuum_insert_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.02
);

-- A number is unique within its country, of three letters. The index is of an expression that no list speaks of: one of the
-- columns themselves would lead a list by country over the numbers of all tenants.
create unique index short_codes_number_key on short_codes ((country_code || short_code));

-- Every other index is of one partner at a time, as every list is, and within a value in the order of creation: a page of a filter
-- is one range of an index, however deep. Unchanged values keep an update HOT; a name in an index would end that for renames.
create index short_codes_partner_idx on short_codes (partner_sid, ordinal);
create index short_codes_short_code_idx on short_codes (partner_sid, short_code, ordinal);
create index short_codes_did_group_idx on short_codes (partner_sid, did_group_sid, ordinal);
create index short_codes_string_key_1_idx on short_codes (partner_sid, string_key_1, ordinal);
create index short_codes_string_key_2_idx on short_codes (partner_sid, string_key_2, ordinal);
