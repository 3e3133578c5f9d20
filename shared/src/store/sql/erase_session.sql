-- Erases a session for its callers and records that it did; no row if there is no such session. Its
-- messages are invisible from now on, and deleted by `maintain`. Sent again, it finds its record.
--
-- $1 session_id, $2 owner, $3 id of the request
with
erased as (
    update public.chat_sessions
    set erased_at = clock_timestamp(),
        title = null,
        own_title = null,
        metadata = null
    where session_id = $1
      and owner is not distinct from $2
      and erased_at is null
    returning session_id, message_count
),
recorded as (
    insert into public.chat_erasures (session_id, request_id, message_count, on_behalf_of)
    select session_id, $3, message_count, 'caller'
    from erased
    on conflict do nothing
)
select message_count
from erased
union all
select message_count
from public.chat_erasures
where session_id = $1
  and request_id = $3
