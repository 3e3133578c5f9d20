-- The version of the schema. Touches the tables of a turn, so that it fails where a turn would.
select
    (select max(version) from public.refinery_schema_history) as schema_version,
    exists (select from public.chat_sessions) as has_sessions,
    exists (select from public.chat_messages) as has_messages
