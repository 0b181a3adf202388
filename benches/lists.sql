-- The rows of scripts/list-cost: a million short codes of 999 children of the partner `Root`.
--
-- Child 1 has every tenth short code, the others share the rest: neighbours in the table belong to
-- different tenants.
create extension pg_visibility;
create function sid_of(kind text, number bigint) returns uuid immutable language sql
return md5(kind || number)::uuid;

insert into partners (sid, parent_sid, version, head, changed_at, attributes, available_scopes,
                      callbacks, date_created, display_id, name, status)
select sid_of('partner', number), root.sid, 1, root.head, now(), '{}', root.available_scopes,
       '{}', now(), 'CX1' || lpad(number::text, 7, '0'), 'Partner ' || number, 'active'
from partners as root, generate_series(1, 999) as number;

insert into did_groups (sid, partner_sid, version, head, changed_at, name)
select sid_of(kind, number), sid_of('partner', number), 1, '\x00', now(), kind
from generate_series(1, 999) as number, unnest('{most,few}'::text[]) as kind;

-- Sids increase in the order of creation, as UUIDs of version 7 do.
insert into short_codes (sid, partner_sid, version, head, changed_at, attributes, callback_url,
                         country_code, did_group_sid, locality, name, short_code, state,
                         string_key_1, string_key_2)
select (lpad(to_hex(1800000000000 + number), 12, '0') || '7' || substr(md5(number::text), 1, 3)
           || '8' || substr(md5(number::text), 4, 15))::uuid,
       sid_of('partner', partner), 1, sha256(number::text::bytea), now(),
       jsonb_build_object('plan', 'gold', 'limits', jsonb_build_object('day', number % 1000)),
       'https://partner.example/hooks/' || number, 'USA',
       sid_of(case when nth % 1000 = 7 then 'few' else 'most' end, partner),
       'Springfield', 'Code ' || md5(number::text), (10000000 + number)::text, 'IL',
       case when nth % 1000 = 3 then 'rare' else 'common' end, 'k' || nth % 100
from (
    select number, number / 10 as nth,
           case when number % 10 = 0 then 1
                else 2 + (number / 10 * 9 + number % 10 - 1) % 998 end as partner
    from generate_series(0, 999999) as number
) as numbered
order by number;

vacuum (analyze);
checkpoint;
