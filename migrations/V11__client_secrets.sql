-- Rotation of client secrets. A client that is revoked has a secret_hash that no secret has.

alter table oauth_clients
    -- Null for a client whose secret is the first one.
    add column date_secret_changed timestamptz,
    -- The secret before the last rotation, and how long it is accepted.
    add column date_old_secret_expires timestamptz,
    add column old_secret_hash text collate "C"
        constraint oauth_clients_old_secret_is_hashed check (old_secret_hash like '$argon2id$%');
