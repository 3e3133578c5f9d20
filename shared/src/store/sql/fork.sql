-- Opens a session that is a copy of another up to and including one message. The other session does
-- not change. Sent again, it finds the copy already made.
--
-- Everything is read in one snapshot, so the copy is a complete prefix whatever is written or erased
-- meanwhile. The ids of the copied messages are derived from the new session's id (its time, and a
-- digest of the id and the message's position), so they are the same however often the statement is
-- sent.
--
-- A copy that would be too long or too large is not made; `message_count` and `bytes` say so. Nor is one
-- that was made before and has been erased since.
--
-- $1 session_id, $2 owner, $3 message_id, $4 new session_id, $5 number of messages to return, $6
-- maximum number of messages in a copy, $7 maximum size of a copy as JSON, in bytes
with
source as (
    select session_id, title, own_title
    from public.chat_sessions
    where session_id = $1
      and owner is not distinct from $2
      and erased_at is null
),
point as (
    select source.title, source.own_title, m.seq, m.json_bytes_through
    from source
    join public.chat_messages m using (session_id)
    where m.message_id = $3
),
prefix as (
    select
        m.*,
        overlay(
            overlay(
                overlay(
                    left(encode(sha256(convert_to($4::text || m.seq::text, 'UTF8')), 'hex'), 32)
                    placing left(replace($4::text, '-', ''), 12) from 1
                )
                placing '7' from 13
            )
            placing '8' from 17
        )::uuid as copied_message_id
    from point
    join public.chat_messages m
        on m.session_id = $1
        and m.seq <= point.seq
    where point.seq <= $6
      and point.json_bytes_through <= $7
),
session as (
    insert into public.chat_sessions (
        session_id, owner, message_count, user_messages, assistant_messages, audio_files_provided,
        first_message_time, last_message_time, input_tokens, output_tokens, json_bytes,
        forked_from_session_id, forked_from_message_id, forked_seq, title, own_title
    )
    select
        $4, $2, count(*),
        count(*) filter (where role = 'user'),
        count(*) filter (where role = 'assistant'),
        coalesce(sum(audio_file_count) filter (where role = 'assistant'), 0),
        min(timestamp), max(timestamp),
        coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
        max(json_bytes_through),
        $1, $3, max(seq), (select title from point), (select own_title from point)
    from prefix
    having count(*) > 0
       and not exists (select from public.chat_erasures where session_id = $4)
    on conflict (session_id) do nothing
    returning session_id
),
copied as (
    insert into public.chat_messages (
        session_id, seq, reply_to_seq, message_id, origin_message_id, timestamp, role, content,
        content_digest, characters, json_bytes_through, audio_files, audio_file_count,
        function_calls, metadata, model, finish_reason, input_tokens, cached_input_tokens,
        output_tokens, latency_ms, first_token_ms
    )
    select
        session.session_id, seq, reply_to_seq, copied_message_id,
        coalesce(origin_message_id, message_id), timestamp, role, content,
        content_digest, characters, json_bytes_through, audio_files, audio_file_count,
        function_calls, metadata, model, finish_reason, input_tokens, cached_input_tokens,
        output_tokens, latency_ms, first_token_ms
    from session
    cross join prefix
)
select point.seq as message_count, point.json_bytes_through as bytes, m.*
from source
left join point on true
left join lateral (
    select
        seq, copied_message_id as message_id, role, content, timestamp, audio_files, function_calls,
        metadata, null::text as rating, null::text as comment
    from prefix
    order by seq desc
    limit $5
) m on true
order by m.seq
