-- A page of a session's messages: at least one row for a session that exists; if the page is empty,
-- a row without a message.
--
-- The page is measured first, 32 positions at a time and no further than the limits, so that a long
-- history is not read only to be thrown away. Each `{…}` is a fragment that depends on the
-- direction; the module fills it in.
--
-- $1 session_id, $2 owner, $3 after seq, $4 before seq, $5 limit, $6 bytes
with recursive
session as (
    select
        session_id,
        message_count,
        $3 as low,
        least($4, message_count + 1) as high
    from chat_sessions
    where session_id = $1
      and owner is not distinct from $2
),
measured as (
    select 0::bigint as chunks, 0::bigint as bytes
    union all
    select measured.chunks + 1, measured.bytes + chunk.bytes
    from measured
    cross join session
    cross join lateral (
        select coalesce(sum(
            octet_length(m.content)
            + coalesce(octet_length(m.audio_files::text), 0)
            + coalesce(octet_length(m.function_calls::text), 0)
            + coalesce(octet_length(m.metadata::text), 0)
        ), 0)::bigint as bytes
        from chat_messages m
        where m.session_id = session.session_id
          and m.seq > session.low
          and m.seq < session.high
          and {in_next_chunk}
    ) chunk
    where measured.bytes <= $6
      and 32 * measured.chunks < least($5, session.high - session.low - 1)
)
select session.message_count, page.*
from session
left join lateral (
    select
        m.seq, m.message_id, m.role, m.content, m.timestamp,
        m.audio_files, m.function_calls, m.metadata
    from (select max(chunks) as chunks from measured) measured
    cross join chat_messages m
    where m.session_id = session.session_id
      and m.seq > session.low
      and m.seq < session.high
      and {in_measured_chunks}
    order by m.seq {order}
    limit $5
) page on true
order by page.seq {order}
