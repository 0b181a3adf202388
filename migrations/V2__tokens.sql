-- OAuth tokens. The secrets themselves are never stored, only their SHA-256. A revoked token is one whose expiry was moved
-- back to the moment it was made.

create table oauth_tokens (
    sid uuid constraint oauth_tokens_pkey primary key,
    partner_sid uuid not null constraint oauth_tokens_partner_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    access_hash bytea not null constraint oauth_tokens_access_hash_key unique,
    client_id text collate "C",
    date_created timestamptz not null,
    date_expiration_access_token timestamptz not null,
    date_expiration_refresh_token timestamptz,
    date_last_accessed timestamptz,
    ip_last_accessed text collate "C",
    name text collate "C",
    -- Names with blanks between them (RFC 6749, section 3.3).
    scopes text collate "C" not null
) with (fillfactor = 85);

create index oauth_tokens_partner_idx on oauth_tokens (partner_sid, ordinal);
