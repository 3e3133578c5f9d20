-- Looks at the next sessions in the order in which they were opened. Marks those as erased that nobody
-- has used for too long, and records them. A pinned session is kept, unless $4 says otherwise, and one
-- with a turn in progress always.
--
-- The walk needs no index but the primary key. One on the last use would cost every turn an entry;
-- this costs a look at each session that was opened before the limit and is still there.
--
-- $1 id after which to look, $2 number of sessions, $3 retention in days, $4 whether pinned ones expire
with
limit_of_age as (
    select clock_timestamp() - make_interval(days => $3) as used_before
),
looked_at as (
    select id, created_at
    from public.chat_sessions
    where id > $1
    order by id
    limit $2
),
due as (
    select s.session_id
    from looked_at
    join public.chat_sessions s on s.id = looked_at.id
    cross join limit_of_age
    where s.erased_at is null
      and case
          when s.forked_from_session_id is null then coalesce(s.last_message_time, s.created_at)
          else greatest(s.created_at, s.last_message_time)
      end < used_before
      and ($4 or not s.is_pinned)
      and (s.lease_until is null or s.lease_until <= clock_timestamp())
    order by s.id
    for no key update of s
),
marked as (
    update public.chat_sessions s
    set erased_at = clock_timestamp()
    from due
    where s.session_id = due.session_id
    returning s.session_id, s.message_count
),
recorded as (
    insert into public.chat_erasures (session_id, message_count, on_behalf_of)
    select session_id, message_count, 'retention'
    from marked
    on conflict (session_id) do update set finished_at = null
)
select
    (select count(*) from marked) as rows,
    (select max(id) from looked_at) as last_id,
    coalesce((select max(created_at) from looked_at) >= used_before, false) as reached_recent
from limit_of_age
