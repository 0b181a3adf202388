-- Refresh tokens: a login begins a family of tokens, in which each renews the one before. Only the SHA-256 is kept.

alter table oauth_tokens
    -- The sid of the first token of the family.
    add column family_sid uuid,
    add column refresh_hash bytea constraint oauth_tokens_refresh_hash_key unique,
    -- A refresh token is good once. Its expiry says so too, but clocks of two instances may differ.
    add column refresh_spent boolean not null default false;

-- Of a family, all are revoked at once.
create index oauth_tokens_family_idx on oauth_tokens (family_sid) where family_sid is not null;

-- Revoked tokens that another system made, of which there is no row: remembered until they end by themselves.
create table revoked_tokens (
    -- The SHA-256 of head and claims: of some algorithms, anybody can make a second valid signature from a first.
    hash bytea constraint revoked_tokens_pkey primary key,
    date_expiration timestamptz not null
);

create index revoked_tokens_expiration_idx on revoked_tokens (date_expiration);
