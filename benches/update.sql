-- The work of a PATCH in one statement, as the reference. It does less than the service: it reads
-- no row first, checks nothing, merges one level, writes constants as entry and hashes, knows no
-- generation of events, and does not return the row.
\set number random(:first, :last)
\set day random(1, 999)
\set name random(1, 99999999)
with changed as (
    update bench_short_codes
    set version = version + 1,
        changed_at = clock_timestamp(),
        head = sha256('head'),
        attributes = attributes
            || jsonb_build_object('limits', jsonb_build_object('day', :day::int, 'month', 9000)),
        name = 'Name ' || lpad(:name, 8, '0')
    where sid = ('00000000-0000-7000-8000-' || lpad(:number, 12, '0'))::uuid
    returning sid, version, partner_sid, changed_at
)
insert into bench_history (sid, version, kind, partner_sid, date, entry, hash, epoch)
select sid, version, 'short_code', partner_sid, changed_at, repeat('x', :entry_length),
       sha256('head'), pg_current_xact_id()::text::bigint
from changed;
