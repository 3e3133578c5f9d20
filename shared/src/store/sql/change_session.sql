-- Changes what a caller may change in a session, and returns it as it is listed; no row if there is no
-- such session. What is null stays, but for title and metadata, which have a flag of their own.
--
-- $1 session_id, $2 owner, $3 whether to set the title, $4 title, or null for the automatic one,
-- $5 pinned, $6 archived, $7 whether to set metadata, $8 metadata
update public.chat_sessions
set own_title = case when $3 then $4 else own_title end,
    is_pinned = coalesce($5, is_pinned),
    is_archived = coalesce($6, is_archived),
    metadata = case when $7 then $8 else metadata end,
    updated_at = greatest(updated_at, clock_timestamp())
where session_id = $1
  and owner is not distinct from $2
  and erased_at is null
returning
    session_id, coalesce(own_title, title) as title, is_active, is_pinned, is_archived, metadata,
    created_at, updated_at, last_message_time, message_count, forked_from_session_id,
    forked_from_message_id, last_used_at
