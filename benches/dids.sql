-- The data of scripts/did-cost: a stock of a million numbers, of which the first 200,000 are rented: half of them by
-- each of two partners. Another stock has 10,000 numbers. psql variables: owner, child, sibling, stranger.

create function sid_of(kind text, number bigint) returns uuid language sql immutable
return md5(kind || number)::uuid;

insert into did_groups (sid, partner_sid, version, head, changed_at, name)
values (sid_of('group', 1), :'child', 1, '', now(), 'big'), (sid_of('group', 2), :'child', 1, '', now(), 'small');

insert into did_stock (sid, stock_partner_sid, version, head, changed_at, active_capabilities, capabilities, country_code,
    locality, phonenumber, state, status, rental_sid)
select sid_of('stock', n), :'owner', 1, '', now(), 7, n % 32, 'USA', 'Place ' || n % 1000,
    (15100000000 + n * 79)::text, 'S' || n % 50,
    case when n <= 200000 then 'assigned' else 'available' end,
    case when n <= 200000 then sid_of('rental', n) end
from generate_series(1, 1000000) as n;

insert into did_stock (sid, stock_partner_sid, version, head, changed_at, active_capabilities, capabilities, country_code,
    phonenumber, status)
select sid_of('other', n), :'stranger', 1, '', now(), 7, 7, 'GBR', (442000000000 + n)::text, 'available'
from generate_series(1, 10000) as n;

insert into dids (sid, partner_sid, version, head, changed_at, active_capabilities, attributes, capabilities, country_code,
    did_group_sid, locality, name, phonenumber, state, status, string_key_1, transformations, trunk_group_sid)
select rental_sid, case when n % 2 = 0 then :'child' else :'sibling' end::uuid, 1, '', now(), 7, '{"plan": "gold"}',
    capabilities, 'USA', case when n % 2 = 0 then sid_of('group', case when n % 1000 = 0 then 2 else 1 end) end, locality,
    'Number ' || n, phonenumber, state, 'assigned', 'k' || n % 100, '[]', sid_of('trunk', n % 100)
from generate_series(1, 200000) as n join did_stock on did_stock.sid = sid_of('stock', n)
order by n;

vacuum (analyze);
