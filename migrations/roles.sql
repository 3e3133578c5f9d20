-- The roles of a database for Daissy. Run this file once as an administrator, in that database
-- and before the first migration:
--
--     psql "$ADMIN_URL" -f migrations/roles.sql
--
-- Running it again is harmless. No role has a password yet; set one for each with \password.
-- `migrate` runs this file by itself if MIGRATE_CREATE_ROLES is set.

do $$
begin
    -- Owns the tables and functions. Only `migrate` connects as this role.
    if not exists (select from pg_roles where rolname = 'daissy_owner') then
        create role daissy_owner login;
    end if;
    -- The role the functions connect as. Its rights on the tables come from `migrate`, which knows
    -- them.
    if not exists (select from pg_roles where rolname = 'daissy_app') then
        create role daissy_app login;
    end if;
    -- The role `maintain` connects as, the only one that may delete sessions and messages.
    if not exists (select from pg_roles where rolname = 'daissy_maintain') then
        create role daissy_maintain login;
    end if;

    -- Needed to transfer the tables to it, and for an administrator to run `migrate` in its stead.
    -- A superuser needs no membership. (Since version 16 the creator of a role can grant it, but is
    -- not a full member.)
    if current_user <> 'daissy_owner'
        and not (select rolsuper from pg_roles where rolname = current_user)
    then
        execute format('grant daissy_owner to %I', current_user);
    end if;

    execute format(
        'grant connect on database %I to daissy_owner, daissy_app, daissy_maintain', current_database()
    );
    grant usage, create on schema public to daissy_owner;
    grant usage on schema public to daissy_app, daissy_maintain;
end
$$;

-- Timeouts on the server. They apply whatever lies between it and the functions, and also to a
-- statement whose function is gone. They are above every timeout the functions themselves may have:
-- 4 s by default, 20 s at most, and for a copy of a long session the time of a request.
alter role daissy_app set statement_timeout = '30s';
alter role daissy_app set idle_in_transaction_session_timeout = '10s';
-- `maintain` gives a statement a minute.
alter role daissy_maintain set statement_timeout = '90s';
alter role daissy_maintain set idle_in_transaction_session_timeout = '10s';

-- Where the Python server's tables are, the schema that `migrate` moves them into (docs/moving-in.md).
do $$
begin
    if to_regclass('public.chat_messages') is not null
        and to_regclass('public.refinery_schema_history') is null
        and not exists (select from pg_namespace where nspname = 'daissy_legacy')
    then
        create schema daissy_legacy authorization daissy_owner;
    end if;
end
$$;

-- Tables and functions that were created before the roles existed.
do $$
declare
    name text;
    legacy regclass;
    function regprocedure;
begin
    foreach name in array array[
        'chat_sessions', 'chat_messages', 'chat_events', 'chat_erasures', 'chat_feedback',
        'chat_streams', 'chat_search', 'chat_search_parts', 'chat_search_state',
        'audio_resources', 'audio_words',
        'refinery_schema_history'
    ] loop
        if to_regclass('public.' || name) is not null then
            execute format('alter table public.%I owner to daissy_owner', name);
        end if;
    end loop;
    if exists (select from pg_namespace where nspname = 'daissy_legacy') then
        alter schema daissy_legacy owner to daissy_owner;
        for legacy in
            select oid
            from pg_class
            where relnamespace = 'daissy_legacy'::regnamespace
              and relkind = 'r'
        loop
            execute format('alter table %s owner to daissy_owner', legacy);
        end loop;
    end if;
    for function in
        select oid
        from pg_proc
        where pronamespace = 'public'::regnamespace
          and proname ~ '^(audio|chat)_.*_v[0-9]+$'
    loop
        execute format('alter function %s owner to daissy_owner', function);
    end loop;
end
$$;
