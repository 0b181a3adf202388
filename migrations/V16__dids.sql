-- Phone numbers (DIDs): the stock that partners rent from, and the rentals.
--
-- A row of the stock describes a number; it belongs to a partner, and that partner and its descendants can rent the number. Each
-- rental is an object of its own, so nothing of one renter is visible to the next.

create table did_stock (
    sid uuid constraint did_stock_pkey primary key,
    stock_partner_sid uuid not null constraint did_stock_partner_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    active_capabilities integer not null,
    campaign_sid uuid,
    capabilities integer not null,
    classification_sid uuid,
    country_code text collate "C" not null,
    lata text collate "C",
    locality text collate "C",
    lrn_sid uuid,
    ocn text collate "C",
    -- E.164 without the plus sign.
    phonenumber text collate "C" not null
        constraint did_stock_digits check (phonenumber ~ '^[1-9][0-9]{1,14}$'),
    -- The number with its plus sign, which exists once. Lists do not name this column: an index of all tenants on the number
    -- itself would lead a list that is ordered by it over the numbers of all stocks.
    e164 text collate "C" not null generated always as ('+' || phonenumber) stored
        constraint did_stock_number_key unique,
    porting_pin text collate "C",
    price text collate "C",
    state text collate "C",
    -- Changes with each rental, without a new version.
    status text collate "C" not null
        constraint did_stock_status_known check (status in ('available', 'assigned', 'aging')),
    -- The current rental, or while the number is aging the last one, which can be restored.
    rental_sid uuid,
    -- When the aging ends.
    aging_until timestamptz,
    constraint did_stock_rental_present check ((status = 'available') = (rental_sid is null)),
    constraint did_stock_aging_ends check ((status = 'aging') = (aging_until is not null)),
    -- What a rental refers to: see dids_stock_fkey.
    constraint did_stock_status_number_key unique (status, e164)
) with (
    fillfactor = 85,
    -- As for short codes. A number that is rented leaves the partial indexes, and renting starts at their beginning.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 100,
    autovacuum_vacuum_insert_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.02
);

-- Lists, and renting of the first available number.
create index did_stock_available_idx on did_stock (stock_partner_sid, ordinal) where status = 'available';
-- A prefix of numbers is a range. Also counts area codes, which are parts of the number.
create index did_stock_number_idx on did_stock (stock_partner_sid, phonenumber) where status = 'available';
-- Each of these counts one key of the coverage.
create index did_stock_country_idx on did_stock (stock_partner_sid, country_code) where status = 'available';
create index did_stock_locality_idx on did_stock (stock_partner_sid, locality) where status = 'available';
create index did_stock_state_idx on did_stock (stock_partner_sid, state) where status = 'available';
-- The owner lists its aging numbers; maintenance ends the aging.
create index did_stock_aging_idx on did_stock (stock_partner_sid, ordinal) where status = 'aging';
create index did_stock_aging_until_idx on did_stock (aging_until) where status = 'aging';

create table dids (
    sid uuid constraint dids_pkey primary key,
    partner_sid uuid not null constraint dids_partner_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    active_capabilities integer not null,
    attributes jsonb not null constraint dids_attributes_object check (jsonb_typeof(attributes) = 'object'),
    callback_url text collate "C",
    campaign_sid uuid,
    capabilities integer not null,
    classification_sid uuid,
    country_code text collate "C" not null,
    did_group_sid uuid,
    lata text collate "C",
    locality text collate "C",
    lrn_sid uuid,
    name text collate "C" not null,
    ocn text collate "C",
    phonenumber text collate "C" not null,
    -- As in the stock. A number is rented once.
    e164 text collate "C" not null generated always as ('+' || phonenumber) stored
        constraint dids_number_key unique,
    porting_pin text collate "C",
    price text collate "C",
    state text collate "C",
    status text collate "C" not null constraint dids_status_assigned check (status = 'assigned'),
    string_key_1 text collate "C",
    string_key_2 text collate "C",
    transformations jsonb not null
        constraint dids_transformations_array check (jsonb_typeof(transformations) = 'array'),
    trunk_group_sid uuid,
    -- While a number is rented, it is assigned in the stock and cannot be taken out.
    constraint dids_stock_fkey foreign key (status, e164) references did_stock (status, e164),
    -- Composite, so that not even a bug can point a number at another partner's group.
    constraint dids_did_group_fkey foreign key (partner_sid, did_group_sid)
        references did_groups (partner_sid, sid)
) with (
    fillfactor = 85,
    -- As for short codes.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 100,
    autovacuum_vacuum_insert_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.02
);

create index dids_partner_idx on dids (partner_sid, ordinal);
create index dids_phonenumber_idx on dids (partner_sid, phonenumber, ordinal);
create index dids_did_group_idx on dids (partner_sid, did_group_sid, ordinal);
create index dids_trunk_group_idx on dids (partner_sid, trunk_group_sid, ordinal);
create index dids_string_key_1_idx on dids (partner_sid, string_key_1, ordinal);
create index dids_string_key_2_idx on dids (partner_sid, string_key_2, ordinal);
