-- Partners: the tenants, a tree by parent_sid. A partner never moves in the tree.
--
-- Every object table carries the same four columns of ours: ordinal (the order of creation), version (its number of
-- changes), head (the hash of its newest history entry) and changed_at (the time of that entry).

create table partners (
    sid uuid constraint partners_pkey primary key,
    parent_sid uuid constraint partners_parent_fkey references partners,
    ordinal bigint generated always as identity,
    version bigint not null,
    head bytea not null,
    changed_at timestamptz not null,
    attributes jsonb not null constraint partners_attributes_object check (jsonb_typeof(attributes) = 'object'),
    -- Names with blanks between them, as in a token (RFC 6749, section 3.3).
    available_scopes text collate "C" not null,
    callbacks jsonb not null constraint partners_callbacks_object check (jsonb_typeof(callbacks) = 'object'),
    company_name text collate "C",
    country_code text collate "C",
    date_created timestamptz not null,
    display_id text collate "C" not null constraint partners_display_id_key unique,
    login text collate "C" constraint partners_login_key unique,
    name text collate "C" not null,
    status text collate "C" not null constraint partners_status_known check (status in ('active', 'suspended'))
) with (fillfactor = 85);

-- The operator lists partners in the order of creation; a partner sees its children.
create index partners_ordinal_idx on partners (ordinal);
create index partners_parent_idx on partners (parent_sid, ordinal);

-- The number behind display_id: CX00000001, CX00000002, ...
create sequence partner_display_numbers;

-- Who reaches whom: every partner with itself and each of its ancestors, so that "reaches" is one look-up in an index.
create table partner_tree (
    ancestor_sid uuid constraint partner_tree_ancestor_fkey references partners,
    descendant_sid uuid constraint partner_tree_descendant_fkey references partners,
    constraint partner_tree_pkey primary key (ancestor_sid, descendant_sid)
);

-- Effective scopes are judged over a partner's ancestors.
create index partner_tree_descendant_idx on partner_tree (descendant_sid, ancestor_sid);

create function partner_joins_tree() returns trigger language plpgsql as $$
begin
    insert into partner_tree (ancestor_sid, descendant_sid)
    select ancestor_sid, new.sid from partner_tree where descendant_sid = new.parent_sid
    union all
    select new.sid, new.sid;
    return null;
end
$$;

create trigger partner_joins_tree after insert on partners
for each row execute function partner_joins_tree();
