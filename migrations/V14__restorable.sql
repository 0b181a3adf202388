-- The triggers of partners name their tables with the schema, because pg_restore runs them without a search path. They
-- also accept the rows of a dump, so that its data can be restored into a migrated database.

do $migration$
begin
    execute format($create$
        create or replace function partner_joins_tree() returns trigger language plpgsql as $body$
        begin
            insert into %1$I.partner_tree (ancestor_sid, descendant_sid)
            select ancestor_sid, new.sid from %1$I.partner_tree where descendant_sid = new.parent_sid
            union all
            select new.sid, new.sid
            on conflict do nothing;
            return null;
        end
        $body$;

        create or replace function partner_joins_subtree() returns trigger language plpgsql as $body$
        begin
            new.subtree_sid = coalesce(
                new.subtree_sid,
                (select subtree_sid from %1$I.partners where sid = new.parent_sid),
                new.sid);
            return new;
        end
        $body$;

        -- Skips a pair that the trigger of partners has added before.
        create function partner_tree_has_pair() returns trigger language plpgsql as $body$
        begin
            if exists (
                select from %1$I.partner_tree
                where ancestor_sid = new.ancestor_sid and descendant_sid = new.descendant_sid
            ) then
                return null;
            end if;
            return new;
        end
        $body$;
    $create$, current_schema());
end
$migration$;

create trigger partner_tree_has_pair before insert on partner_tree
for each row execute function partner_tree_has_pair();
