-- Stores what a user thinks of an answer. Returns a row if there is such a session, with the role of the
-- message if there is such a message; only an answer gets feedback. The lock keeps the session from being
-- erased in between, which would leave feedback of a session that is gone.
--
-- $1 session_id, $2 owner, $3 message_id, $4 rating, $5 comment, both null to take them back
with
target as (
    select s.session_id, m.seq, m.role
    from public.chat_sessions s
    left join public.chat_messages m
        on m.session_id = s.session_id
        and m.message_id = $3
    where s.session_id = $1
      and s.owner is not distinct from $2
      and s.erased_at is null
    for no key update of s
),
stored as (
    insert into public.chat_feedback (session_id, seq, rating, comment)
    select session_id, seq, $4, $5
    from target
    where role = 'assistant'
    on conflict (session_id, seq) do update
    set rating = excluded.rating,
        comment = excluded.comment,
        updated_at = excluded.updated_at
)
select role
from target
