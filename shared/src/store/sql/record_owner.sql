-- Marks sessions of an owner as erased, and records them.
--
-- $1 owner, $2 number of sessions
with
due as (
    select session_id
    from public.chat_sessions
    where owner = $1
      and erased_at is null
    order by id
    limit $2
    for no key update
),
marked as (
    update public.chat_sessions s
    set erased_at = clock_timestamp()
    from due
    where s.session_id = due.session_id
    returning s.session_id, s.message_count
),
recorded as (
    insert into public.chat_erasures (session_id, message_count, on_behalf_of)
    select session_id, message_count, 'operator'
    from marked
    on conflict (session_id) do update set finished_at = null
)
select count(*) as rows
from marked
