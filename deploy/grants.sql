-- Creates the role of the service and grants it what `shortline serve --no-migrate` needs. The role
-- reads and writes objects and adds history entries. It can neither change nor delete entries, nor
-- alter the schema.
--
-- Run it as the owner of the schema, after each `shortline migrate`:
--
--     psql --set=ON_ERROR_STOP=1 --single-transaction --file=grants.sql "$DATABASE_URL"
--
-- The role is `shortline_service`, unless `set shortline.role = 'name'` before the file selects
-- another. It has no password until `\password shortline_service` sets one.

do $grants$
declare
    role text := coalesce(nullif(current_setting('shortline.role', true), ''), 'shortline_service');
    own text := current_schema();
begin
    if not exists (select from pg_roles where rolname = role) then
        execute format('create role %I login', role);
    end if;
    if exists (
        select from pg_roles
        where rolname = role and (
            rolsuper or rolcreaterole or rolcreatedb or rolbypassrls
            or exists (select from pg_class where relowner = pg_roles.oid)
        )
    ) then
        raise exception 'the role % has rights that no grant can limit; choose another one', role;
    end if;

    execute format('revoke create on schema %I from public, %I', own, role);
    execute format('revoke all on all tables in schema %I from %I', own, role);
    execute format('grant connect on database %I to %I', current_database(), role);
    execute format('grant usage on schema %I to %I', own, role);
    execute format('grant usage on all sequences in schema %I to %I', own, role);

    execute format(
        'grant select, insert, update, delete on all tables in schema %I to %I', own, role);
    execute format('revoke update, delete on %I.history from %I', own, role);
    -- Who is whose descendant never changes.
    execute format('revoke update, delete on %I.partner_tree from %I', own, role);
    -- Written by the function of retention; the anchor of a history that begins anew is deleted.
    execute format('revoke insert, update on %I.history_anchors from %I', own, role);
    execute format('revoke insert, update, delete on %I.history_retention from %I', own, role);
    -- Written by the functions that begin a generation and that delete entries.
    execute format('revoke insert, update, delete on %I.event_generations from %I', own, role);
    execute format('revoke insert, update, delete on %I.event_floor from %I', own, role);
    execute format(
        'revoke insert, update, delete on %I.refinery_schema_history from %I', own, role);
    execute format('grant execute on function %I.prune_history to %I', own, role);
end
$grants$;
