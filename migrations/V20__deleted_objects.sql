-- The deleted objects of a partner, in the order of their deletion. Only deletions have an entry in the index, so updates do
-- not pay for it. Of a long entry, only the beginning is decompressed.
create index history_deletion_idx on history (partner_sid, kind, date, sid, version)
    where kind in ('did', 'did_group', 'short_code') and substr(entry, 1, 18) = '{"action":"delete"';
