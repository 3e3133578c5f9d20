-- Opens a session that is a copy of another up to and including one message. The other session does
-- not change. Sent again, it finds the copy already made.
--
-- Everything is read in one snapshot, so the copy is a complete prefix whatever is written
-- meanwhile. The ids of the copied messages are derived from the new session's id (its time, and a
-- digest of the id and the message's position), so they are the same however often the statement is
-- sent.
--
-- A copy that would be too long or too large is not made; `message_count` and `bytes` say so. Sizes
-- are those on disk, which can be read without reading the values.
--
-- $1 session_id, $2 owner, $3 message_id, $4 new session_id, $5 number of messages to return, $6
-- maximum number of messages in a copy, $7 maximum number of bytes in a copy
with
source as (
    select s.session_id, s.owner
    from chat_sessions s
    where s.session_id = $1
      and s.owner is not distinct from $2
),
point as (
    select m.seq
    from source
    join chat_messages m using (session_id)
    where m.message_id = $3
),
size as (
    select coalesce(sum(
        pg_column_size(m.content)
            + coalesce(pg_column_size(m.audio_files), 0)
            + coalesce(pg_column_size(m.function_calls), 0)
            + coalesce(pg_column_size(m.metadata), 0)
    ), 0)::int8 as bytes
    from point
    join chat_messages m
        on m.session_id = $1
        and m.seq <= point.seq
    where point.seq <= $6
),
prefix as (
    select
        m.seq, m.reply_to_seq, m.role, m.content, m.timestamp, m.audio_files, m.function_calls,
        m.metadata, m.model, m.input_tokens, m.output_tokens,
        overlay(
            overlay(
                overlay(
                    left(encode(sha256(convert_to($4::text || m.seq::text, 'UTF8')), 'hex'), 32)
                    placing left(replace($4::text, '-', ''), 12) from 1
                )
                placing '7' from 13
            )
            placing '8' from 17
        )::uuid as message_id
    from point
    join size on size.bytes <= $7
    join chat_messages m
        on m.session_id = $1
        and m.seq <= point.seq
    where point.seq <= $6
),
session as (
    insert into chat_sessions (
        session_id, owner, message_count, user_messages, assistant_messages, audio_files_provided,
        first_message_time, last_message_time, input_tokens, output_tokens,
        forked_from_session_id, forked_from_message_id
    )
    select
        $4, $2, count(*),
        count(*) filter (where role = 'user'),
        count(*) filter (where role = 'assistant'),
        coalesce(sum(jsonb_array_length(audio_files)) filter (
            where role = 'assistant' and jsonb_typeof(audio_files) = 'array'
        ), 0),
        min(timestamp), max(timestamp),
        coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
        $1, $3
    from prefix
    having count(*) > 0
    on conflict (session_id) do nothing
    returning session_id
),
copied as (
    insert into chat_messages (
        session_id, seq, reply_to_seq, message_id, role, content, timestamp,
        audio_files, function_calls, metadata, model, input_tokens, output_tokens
    )
    select
        session.session_id, seq, reply_to_seq, message_id, role, content, timestamp,
        audio_files, function_calls, metadata, model, input_tokens, output_tokens
    from session
    cross join prefix
)
select point.seq as message_count, size.bytes, m.*
from source
cross join size
left join point on true
left join lateral (
    select seq, message_id, role, content, timestamp, audio_files, function_calls, metadata
    from prefix
    order by seq desc
    limit $5
) m on true
order by m.seq
