-- No two rows of a table have the same place in the order of creation, or lists would lose one of them. Logical replication
-- does not replicate sequences, so that they begin again after a switchover: an insert fails then, until they are set.

create unique index partners_ordinal_key on partners (ordinal);
drop index partners_ordinal_idx;

-- These are of an expression that no list speaks of: an index of the column itself could lead a list over the rows of all
-- tenants.
create unique index oauth_tokens_ordinal_key on oauth_tokens ((ordinal + 0));
create unique index oauth_clients_ordinal_key on oauth_clients ((ordinal + 0));
create unique index partner_logins_ordinal_key on partner_logins ((ordinal + 0));
create unique index did_groups_ordinal_key on did_groups ((ordinal + 0));
create unique index short_codes_ordinal_key on short_codes ((ordinal + 0));
