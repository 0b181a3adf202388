-- The level that suspended a partner. Only the same or a higher level can lift the suspension.

alter table partners
    -- 0 is the operator, otherwise the depth of the ancestor, whose root has depth 1. Null if the partner is active, or
    -- if a release that did not store the level has suspended it.
    add column suspended_by integer;

-- The newest entry that suspended the partner names the partner of the token; the operator has none.
update partners
set suspended_by = (
    select case
        when suspender.sid is null then 0
        else (select count(*) from partner_tree where descendant_sid = suspender.sid)
    end
    from (
        select (entry::json ->> 'partner_sid')::uuid as sid
        from history
        where history.sid = partners.sid
          and entry::json #>> '{changes,status,after}' = 'suspended'
        order by version desc
        limit 1
    ) as suspender
)
where status = 'suspended';
