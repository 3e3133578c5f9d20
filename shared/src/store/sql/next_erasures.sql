-- Names the recorded sessions that come next, and hides those that are not hidden: those in a restored
-- database. A session may be gone already.
--
-- $1 number of sessions, $2 owner or null
with
recorded as (
    select e.session_id
    from public.chat_erasures e
    left join public.chat_sessions s on s.session_id = e.session_id
    where e.finished_at is null
      and ($2::text is null or s.owner = $2)
    order by e.session_id
    limit $1
    for update of e
),
hidden as (
    update public.chat_sessions s
    set erased_at = clock_timestamp()
    from recorded
    where s.session_id = recorded.session_id
      and s.erased_at is null
    returning s.session_id
)
select
    array(select session_id from recorded) as session_ids,
    (select count(*) from hidden) as hidden
