-- Who may ask for tokens: clients by their secret, logins by their password. Both secrets are kept only as Argon2id.

create table oauth_clients (
    -- The client_id.
    sid uuid constraint oauth_clients_pkey primary key,
    partner_sid uuid not null constraint oauth_clients_partner_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    date_created timestamptz not null,
    -- Names with blanks between them (RFC 6749, section 3.3).
    scopes text collate "C" not null,
    secret_hash text collate "C" not null
        constraint oauth_clients_secret_is_hashed check (secret_hash like '$argon2id$%')
) with (fillfactor = 85);

create index oauth_clients_partner_idx on oauth_clients (partner_sid, ordinal);

create table partner_logins (
    sid uuid constraint partner_logins_pkey primary key,
    -- The partner's member login names the one it has.
    partner_sid uuid not null constraint partner_logins_partner_key unique
        constraint partner_logins_partner_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    date_created timestamptz not null,
    date_password_changed timestamptz not null,
    login text collate "C" not null constraint partner_logins_login_key unique,
    password_hash text collate "C" not null
        constraint partner_logins_password_is_hashed check (password_hash like '$argon2id$%')
) with (fillfactor = 85);
