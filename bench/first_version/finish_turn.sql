-- Finishes a turn: stores the answer, updates the counters and releases the lease, but only for the
-- holder of the lease. Sent again, it finds the answer already stored.
--
-- $1 session_id, $2 owner, $3 lease_id, $4 seq of the question, $5 response_id, $6 content,
-- $7 audio_files, $8 number of audio files, $9 function_calls, $10 model, $11 input tokens,
-- $12 output tokens
with
clock as materialized (
    select clock_timestamp() as now
),
session as (
    update chat_sessions
    set message_count = message_count + 1,
        assistant_messages = assistant_messages + 1,
        audio_files_provided = audio_files_provided + $8,
        input_tokens = input_tokens + $11,
        output_tokens = output_tokens + $12,
        last_message_time = greatest(last_message_time, now),
        updated_at = greatest(updated_at, now),
        lease_id = null,
        lease_until = null
    from clock
    where session_id = $1
      and owner is not distinct from $2
      and lease_id = $3
    returning message_count, last_message_time
),
answer as (
    insert into chat_messages (
        session_id, seq, reply_to_seq, message_id, role, content, timestamp,
        audio_files, function_calls, model, input_tokens, output_tokens
    )
    select $1, message_count, $4, $5, 'assistant', $6, last_message_time, $7, $9, $10, $11, $12
    from session
    returning seq
)
select seq
from answer
union all
select seq
from chat_messages
where session_id = $1
  and message_id = $5
