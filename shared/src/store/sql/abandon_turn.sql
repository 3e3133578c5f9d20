-- Releases the lease of a turn that will not finish, so that it can be retried immediately, and records
-- why it failed if $4 says so. The lock keeps the session from being erased in between, which would leave
-- an event of a session that is gone.
--
-- $1 session_id, $2 owner, $3 lease_id, $4 kind of event, $5 seq of the question
with
session as (
    select session_id
    from public.chat_sessions
    where session_id = $1
      and owner is not distinct from $2
      and erased_at is null
    for no key update
),
released as (
    update public.chat_sessions s
    set lease_id = null,
        lease_until = null,
        lease_is_streamed = false
    from session
    where s.session_id = session.session_id
      and s.lease_id = $3
),
ended as (
    delete from public.chat_streams w
    using session
    where w.session_id = session.session_id
      and w.lease_id = $3
)
insert into public.chat_events (session_id, event_id, kind, question_seq)
select session_id, $3, $4, $5
from session
where $4 is not null
on conflict do nothing
