-- A page of an owner's sessions in the order in which they were opened, each with its messages: a row for
-- each message, or one without a message for a session that has none left. Title and metadata of a session
-- are in its first row only.
--
-- Stored sizes tell where the page ends: it holds no more than $6 bytes of messages, plus one message.
--
-- $1 owner, $2 session_id of the only session, or null, $3 to $5 the place after which the page begins, or
-- null: created_at and session_id of a session that was begun, and the last message of it, $6 maximum size
-- in bytes, $7 maximum number of sessions
with
candidates as (
    select
        s.*,
        case when s.session_id = $4 then $5 else 0 end as done,
        coalesce(
            (
                select m.json_bytes_through
                from public.chat_messages m
                where m.session_id = $4
                  and m.seq = $5
                  and s.session_id = $4
            ),
            0
        ) as done_bytes
    from public.chat_sessions s
    where (s.owner = $1 or ($1 is null and s.owner is null))
      and s.erased_at is null
      and ($2 is null or s.session_id = $2)
      and ($3 is null or (s.created_at, s.session_id) >= ($3, $4))
    order by s.owner, s.created_at, s.session_id
    limit $7
),
sized as (
    select
        *,
        sum(json_bytes - done_bytes) over (order by created_at, session_id)
            - (json_bytes - done_bytes) as bytes_before
    from candidates
),
chosen as (
    select *
    from sized
    where bytes_before < $6
)
select
    s.session_id,
    case when coalesce(m.seq, 1) = 1 then coalesce(s.own_title, s.title) end as title,
    case when coalesce(m.seq, 1) = 1 then s.metadata end as session_metadata,
    s.is_active, s.is_pinned, s.is_archived, s.created_at, s.updated_at, s.last_message_time,
    s.message_count, s.forked_from_session_id, s.forked_from_message_id, s.last_used_at,
    s.user_messages, s.assistant_messages, s.first_message_time,
    coalesce(
        extract(epoch from s.last_message_time - s.first_message_time), 0
    )::float8 as duration_seconds,
    s.audio_files_provided, s.input_tokens, s.output_tokens, s.done,
    m.seq, m.reply_to_seq, m.message_id, m.role, m.content, m.timestamp, m.audio_files,
    m.function_calls, m.metadata, m.rating, m.comment, m.model, m.finish_reason,
    m.input_tokens as message_input_tokens, m.cached_input_tokens,
    m.output_tokens as message_output_tokens, m.latency_ms, m.first_token_ms, m.origin_message_id,
    (select count(*) from candidates) >= $7
        or exists (select from sized where bytes_before >= $6) as has_more_sessions
from chosen s
left join lateral (
    select m.*, f.rating, f.comment
    from public.chat_messages m
    left join public.chat_feedback f
        on f.session_id = m.session_id
        and f.seq = m.seq
    where m.session_id = s.session_id
      and m.seq > s.done
      and (m.seq = s.done + 1 or m.json_bytes_through - s.done_bytes + s.bytes_before <= $6)
) m on true
order by s.created_at, s.session_id, m.seq
