-- A page of an owner's sessions that have a message, the one used last first; see `Session::read`.
--
-- An index gives them by the hour of last use, and within the hour they are sorted. Each part reads one
-- of the three indexes; those that are not asked for are left out when the statement is planned. The
-- order begins with the owner because `owner is null` does not tell the planner that it is always the
-- same.
--
-- $1 owner, $2 archived: 'false', 'true' or 'all', $3 whether only pinned ones, $4 to $6 the position
-- that the page follows, or null: hour of last use, last use, session_id; $7 limit
with
listed as (
    (
        select *
        from public.chat_sessions
        where (owner = $1 or ($1 is null and owner is null))
          and not $3 and $2 <> 'true' and not is_archived
          and erased_at is null
          and last_used_hour is not null
          and ($4 is null or (last_used_hour, last_used_at, session_id) < ($4, $5, $6))
        order by owner desc, last_used_hour desc, last_used_at desc, session_id desc
        limit $7
    )
    union all
    (
        select *
        from public.chat_sessions
        where (owner = $1 or ($1 is null and owner is null))
          and not $3 and $2 <> 'false' and is_archived
          and erased_at is null
          and last_used_hour is not null
          and ($4 is null or (last_used_hour, last_used_at, session_id) < ($4, $5, $6))
        order by owner desc, last_used_hour desc, last_used_at desc, session_id desc
        limit $7
    )
    union all
    (
        select *
        from public.chat_sessions
        where (owner = $1 or ($1 is null and owner is null))
          and $3 and is_pinned and ($2 = 'all' or is_archived = ($2 = 'true'))
          and erased_at is null
          and last_used_hour is not null
          and ($4 is null or (last_used_hour, last_used_at, session_id) < ($4, $5, $6))
        order by owner desc, last_used_hour desc, last_used_at desc, session_id desc
        limit $7
    )
)
select
    session_id, coalesce(own_title, title) as title, is_active, is_pinned, is_archived, metadata,
    created_at, updated_at, last_message_time, message_count, forked_from_session_id,
    forked_from_message_id, last_used_at
from listed
order by last_used_hour desc, last_used_at desc, session_id desc
limit $7
