-- The phone numbers of scripts/bench: one that is rented for each short code of the first `codes`, by the same partner,
-- and a thousand available ones in the stock of each partner. psql variable: codes.

insert into did_stock (sid, stock_partner_sid, version, head, changed_at, active_capabilities, capabilities, country_code,
    phonenumber, status, rental_sid)
select md5('stock' || short_code)::uuid, partner_sid, 1, '', now(), 7, 7, 'USA', '1' || (2000000000 + short_code::bigint),
    'assigned', md5('rental' || short_code)::uuid
from short_codes where short_code::bigint < 10000000 + :codes;

insert into dids (sid, partner_sid, version, head, changed_at, active_capabilities, attributes, callback_url, capabilities,
    country_code, name, phonenumber, status, string_key_1, transformations)
select md5('rental' || short_code)::uuid, partner_sid, 1, '', now(), 7, attributes, callback_url, 7, country_code, name,
    '1' || (2000000000 + short_code::bigint), 'assigned', string_key_1, '[]'
from short_codes where short_code::bigint < 10000000 + :codes
order by ordinal;

insert into did_stock (sid, stock_partner_sid, version, head, changed_at, active_capabilities, capabilities, country_code,
    phonenumber, status)
select md5('free' || partners.ordinal || ' ' || n)::uuid, partners.sid, 1, '', now(), 7, 7, 'USA',
    '1' || (3000000000 + partners.ordinal * 1000 + n), 'available'
from partners cross join generate_series(0, 999) as n;
