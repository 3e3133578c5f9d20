-- The statistics of a session; no row if there is no such session.
--
-- $1 session_id, $2 owner
select
    session_id, created_at, updated_at, is_active, message_count, user_messages,
    assistant_messages, first_message_time, last_message_time,
    coalesce(
        extract(epoch from last_message_time - first_message_time), 0
    )::float8 as duration_seconds,
    audio_files_provided, input_tokens, output_tokens
from public.chat_sessions
where session_id = $1
  and owner is not distinct from $2
  and erased_at is null
