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

-- Subtrees: a partner that the operator created, with the partners below it that were created through the API. The
-- partners of a subtree share a request rate.

alter table partners
    -- The partner that starts the subtree: the partner itself, or the one of its parent. Set for every row; a release
    -- that does not set it creates partners in the subtree of their parents.
    add column subtree_sid uuid;

with recursive placed as (
    select sid, sid as subtree_sid from partners where parent_sid is null
    union all
    select partners.sid,
        case
            when exists (
                select from history
                where history.sid = partners.sid and version = 1 and entry::json ->> 'partner_sid' is null
            ) then partners.sid
            else placed.subtree_sid
        end
    from placed join partners on partners.parent_sid = placed.sid
)
update partners set subtree_sid = placed.subtree_sid from placed where placed.sid = partners.sid;

create function partner_joins_subtree() returns trigger language plpgsql as $$
begin
    new.subtree_sid = coalesce(
        new.subtree_sid, (select subtree_sid from partners where sid = new.parent_sid), new.sid);
    return new;
end
$$;

create trigger partner_joins_subtree before insert on partners
for each row execute function partner_joins_subtree();
