-- Resumes a session: it becomes active again if it was reset. Returns the end of its history as of
-- the start of the statement, so that count and messages agree whatever is written meanwhile.
--
-- $1 session_id, $2 owner, $3 number of messages
with
resumed as (
    update chat_sessions
    set is_active = true,
        updated_at = greatest(updated_at, clock_timestamp())
    where session_id = $1
      and owner is not distinct from $2
      and not is_active
)
select s.message_count, m.*
from chat_sessions s
left join lateral (
    select seq, message_id, role, content, timestamp, audio_files, function_calls, metadata
    from chat_messages
    where session_id = s.session_id
      and seq <= s.message_count
    order by seq desc
    limit $3
) m on true
where s.session_id = $1
  and s.owner is not distinct from $2
order by m.seq
