-- The two roles of a database for Daissy. Run it once as an administrator, in that database and before
-- the first migration:
--
--     psql "$ADMIN_URL" -f migrations/roles.sql
--
-- Running it again is harmless. Neither role has a password yet; give each one with \password. `migrate`
-- runs this file by itself where MIGRATE_CREATE_ROLES is set.

do $$
begin
    -- Owns the tables. Only `migrate` connects as this role.
    if not exists (select from pg_roles where rolname = 'daissy_owner') then
        create role daissy_owner login;
    end if;
    -- What the functions connect as. Its rights on the tables come from `migrate`, which knows them.
    if not exists (select from pg_roles where rolname = 'daissy_app') then
        create role daissy_app login;
    end if;

    -- To give it the tables, and for an administrator to run `migrate` in its place. A superuser needs
    -- no membership. (Since version 16 whoever creates a role can grant it, but is no full member.)
    if current_user <> 'daissy_owner'
        and not (select rolsuper from pg_roles where rolname = current_user)
    then
        execute format('grant daissy_owner to %I', current_user);
    end if;

    execute format('grant connect on database %I to daissy_owner, daissy_app', current_database());
    grant usage, create on schema public to daissy_owner;
    grant usage on schema public to daissy_app;
end
$$;

-- Limits on the server's side. They hold whatever the connection leads through, and also for a
-- statement whose function is gone. Above every limit that the functions themselves may have: 4 s by
-- default, 20 s at most, and for a copy of a long session the time of a request.
alter role daissy_app set statement_timeout = '30s';
alter role daissy_app set idle_in_transaction_session_timeout = '10s';

-- Tables from before there were roles.
do $$
declare
    name text;
begin
    foreach name in array array['chat_sessions', 'chat_messages', 'refinery_schema_history'] loop
        if to_regclass('public.' || name) is not null then
            execute format('alter table public.%I owner to daissy_owner', name);
        end if;
    end loop;
end
$$;
