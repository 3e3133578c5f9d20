-- A session as it is listed; no row if there is no such session.
--
-- $1 session_id, $2 owner
select
    session_id, coalesce(own_title, title) as title, is_active, is_pinned, is_archived, metadata,
    created_at, updated_at, last_message_time, message_count, forked_from_session_id,
    forked_from_message_id, last_used_at
from public.chat_sessions
where session_id = $1
  and owner is not distinct from $2
  and erased_at is null
