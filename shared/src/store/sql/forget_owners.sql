-- Deletes the parts of owners who have no session any more: an owner's id is personal data.
delete from public.chat_search_parts p
where not exists (
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
