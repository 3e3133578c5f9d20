-- Closes a session, keeps its record, and opens another; no row if there is no such session.
--
-- $1 session_id, $2 owner, $3 id of the new session, and of the event
with
closed as (
    update public.chat_sessions
    set is_active = false,
        updated_at = greatest(updated_at, clock_timestamp())
    where session_id = $1
      and owner is not distinct from $2
      and erased_at is null
    returning session_id
),
recorded as (
    insert into public.chat_events (session_id, event_id, kind)
    select session_id, $3, 'reset'
    from closed
    on conflict do nothing
),
opened as (
    insert into public.chat_sessions (session_id, owner)
    select $3, $2
    from closed
    where not exists (select from public.chat_erasures where session_id = $3)
    on conflict (session_id) do nothing
)
select session_id
from closed
