-- Deletes the parts of owners who have no session any more: an owner's id is personal data. Not while the index
-- is being filled, which may give a part the messages of a session that is not seen here yet.
with
idle as (
    select
    from public.chat_search_state
    for key share skip locked
)
delete from public.chat_search_parts p
where exists (select from idle)
and not exists (
    select
    from public.chat_sessions s
    where s.owner = nullif(p.owner, '')
      and not s.is_archived and s.erased_at is null and s.last_used_hour is not null
)
and not exists (
    select
    from public.chat_sessions s
    where s.owner = nullif(p.owner, '')
      and s.is_archived and s.erased_at is null and s.last_used_hour is not null
)
and p.owner <> ''
