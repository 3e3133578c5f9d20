-- A page of a session's messages: one row at least for a session that exists, without a message in
-- it where the page is empty.
--
-- A page stops once the texts in it pass $6 bytes, so that a long history does not travel only to be
-- thrown away. What `{order}` stands for is put in by the module: `asc` or `desc`.
--
-- $1 session_id, $2 owner, $3 after seq, $4 before seq, $5 limit, $6 bytes
select s.message_count, m.*
from chat_sessions s
left join lateral (
    select seq, message_id, role, content, timestamp, audio_files, function_calls, metadata
    from (
        select
            page.*,
            sum(
                octet_length(content)
                + coalesce(octet_length(audio_files::text), 0)
                + coalesce(octet_length(function_calls::text), 0)
                + coalesce(octet_length(metadata::text), 0)
            ) over (
                order by seq {order}
                rows between unbounded preceding and 1 preceding
            ) as bytes_before
        from (
            select seq, message_id, role, content, timestamp, audio_files, function_calls, metadata
            from chat_messages
            where session_id = s.session_id
              and seq > $3
              and seq < $4
            order by seq {order}
            limit $5
        ) page
    ) measured
    where coalesce(bytes_before, 0) <= $6
) m on true
where s.session_id = $1
  and s.owner is not distinct from $2
order by m.seq {order}
