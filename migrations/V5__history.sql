-- Every change of every object, one entry a version, written by the statement that makes the change.
--
-- entry is the JSON text of who did what, with the object as it became; hash is the SHA-256 of the hash before it and of
-- that text, so that no entry can be altered or removed unseen. The other columns repeat what the text says, to find it by.

create table history (
    sid uuid not null,
    version bigint not null,
    kind text collate "C" not null,
    -- The owner of the object at that time: an entry outlives its object.
    partner_sid uuid not null,
    date timestamptz not null,
    entry text not null,
    hash bytea not null,
    constraint history_pkey primary key (sid, version)
);

-- Retention walks the oldest entries.
create index history_date_idx on history using brin (date);
