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
    constraint short_codes_number_key unique (country_code, short_code),
    -- Composite, so that not even a bug can point a short code at another partner's group.
    constraint short_codes_did_group_fkey foreign key (partner_sid, did_group_sid)
        references did_groups (partner_sid, sid)
) with (fillfactor = 85);

-- List by partner in the order of creation; filter by an indexed member. Unchanged values keep an update HOT.
create index short_codes_partner_idx on short_codes (partner_sid, ordinal);
create index short_codes_short_code_idx on short_codes (partner_sid, short_code);
create index short_codes_did_group_idx on short_codes (partner_sid, did_group_sid);
create index short_codes_string_key_1_idx on short_codes (partner_sid, string_key_1);
create index short_codes_string_key_2_idx on short_codes (partner_sid, string_key_2);
