-- No two phone numbers, in a stock or rented, and no two deliveries have the same place in the order of creation: see
-- V15__order_of_creation.sql.
create unique index did_stock_ordinal_key on did_stock ((ordinal + 0));
create unique index dids_ordinal_key on dids ((ordinal + 0));
create unique index event_deliveries_ordinal_key on event_deliveries ((ordinal + 0));
