-- Writes that can be trusted: retries that act once, updates that must say what they saw, a history that can grow old.

-- What a request answered under its key: stored with its change, told again to its retry, on every instance, for a day.
create table idempotency_keys (
    -- The caller's.
    partner_sid uuid not null,
    key text collate "C" not null,
    -- The SHA-256 of method, path, query and body: the same key under another request is a mistake.
    request bytea not null,
    -- The version that the answer's ETag tells, where it has one.
    version bigint,
    -- What was answered; none where there was nothing to tell (204).
    body text,
    date timestamptz not null default now(),
    constraint idempotency_keys_pkey primary key (partner_sid, key)
);

-- Those whose day is over are swept.
create index idempotency_keys_date_idx on idempotency_keys (date);

-- Whether updates of the partner's objects must say which version they saw.
alter table partners add column requires_if_match boolean not null default false;

-- Retention drops the oldest entries of an object; the hash of the last that it dropped is what the next one is chained to.
create table history_anchors (
    sid uuid constraint history_anchors_pkey primary key,
    version bigint not null,
    hash bytea not null
);
