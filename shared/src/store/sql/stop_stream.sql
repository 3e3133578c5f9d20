-- Asks the streamed turn in progress to stop; if $3 names a question, only the turn of that one. No row if
-- there is no such session.
--
-- $1 session_id, $2 owner, $3 message_id or null, $4 seconds without a sign of life after which a turn has
-- died
with
session as (
    select session_id, lease_id
    from public.chat_sessions
    where session_id = $1
      and owner is not distinct from $2
      and erased_at is null
),
question as (
    select m.seq
    from session
    join public.chat_messages m on m.session_id = session.session_id
    where m.message_id = $3
      and m.role = 'user'
),
stopped as (
    update public.chat_streams w
    set is_stop_requested = true
    from session
    where w.session_id = session.session_id
      and w.lease_id = session.lease_id
      and w.alive_at > clock_timestamp() - make_interval(secs => $4)
      and ($3::uuid is null or w.question_seq = (select seq from question))
    returning w.session_id
)
select
    $3::uuid is null or exists (select from question) as is_known,
    exists (select from stopped) as is_stopping
from session
