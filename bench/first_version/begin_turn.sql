-- Begins a turn: opens the session if its id is unused, stores the user's message, takes the lease,
-- and returns the context for the model. Otherwise it returns the reason and changes nothing.
--
-- Everything is decided on one snapshot (`seen`), and the session's row is written only if it has
-- not changed since. If it has, the outcome is `stale` and the caller sends the statement again.
--
-- $1 session_id, $2 owner, $3 message_id, $4 content, $5 audio_files, $6 metadata, $7 lease_id,
-- $8 lease in seconds, $9 messages of context, $10 characters of context
with
clock as materialized (
    select clock_timestamp() as now
),
seen as (
    select owner, is_active, message_count, lease_id, lease_until
    from chat_sessions
    where session_id = $1
),
repeated as (
    select
        m.seq,
        m.role = 'user' and m.content = $4 as is_same,
        answer.message_id as response_id,
        answer.seq as answer_seq,
        answer.content,
        answer.audio_files,
        answer.function_calls,
        answer.model,
        answer.input_tokens,
        answer.output_tokens
    from chat_messages m
    left join chat_messages answer
        on answer.session_id = m.session_id
        and answer.reply_to_seq = m.seq
    where m.session_id = $1
      and m.message_id = $3
),
judged as (
    select
        case
            when exists (select from seen where owner is distinct from $2) then 'not_found'
            when exists (select from repeated where not is_same) then 'reused'
            when exists (select from repeated where response_id is not null) then 'answered'
            when exists (select from seen where not is_active) then 'inactive'
            when exists (
                select from seen
                where lease_id <> $7
                  and lease_until > (select now from clock)
            ) then 'busy'
            else 'started'
        end as outcome,
        -- 1 for a new message, 0 for one that is already stored.
        (not exists (select from repeated))::int as added
),
session as (
    insert into chat_sessions as s (
        session_id, owner, created_at, updated_at, message_count, user_messages,
        first_message_time, last_message_time, lease_id, lease_until
    )
    select
        $1, $2, now, now, 1, 1, now, now, $7, now + make_interval(secs => $8)
    from judged
    cross join clock
    where outcome = 'started'
    on conflict (session_id) do update
    set message_count = s.message_count + (select added from judged),
        user_messages = s.user_messages + (select added from judged),
        first_message_time = coalesce(s.first_message_time, excluded.first_message_time),
        -- If the clock is set back, times must still not run backwards.
        last_message_time = case (select added from judged)
            when 1 then greatest(s.last_message_time, excluded.last_message_time)
            else s.last_message_time
        end,
        lease_id = excluded.lease_id,
        lease_until = excluded.lease_until,
        updated_at = greatest(s.updated_at, excluded.updated_at)
    where (s.message_count, s.is_active, s.lease_id, s.lease_until) is not distinct from (
        select (message_count, is_active, lease_id, lease_until)
        from seen
    )
    returning session_id, message_count, last_message_time
),
question as (
    insert into chat_messages (
        session_id, seq, message_id, role, content, timestamp, audio_files, metadata
    )
    select session_id, message_count, $3, 'user', $4, last_message_time, $5, $6
    from session
    cross join judged
    where judged.added = 1
    returning seq
),
recent as (
    select
        m.*,
        sum(length(m.content)) over (order by m.seq desc) as characters
    from session
    -- A lateral join for this one session, so that its index is read from the end and no further
    -- than the limit.
    cross join lateral (
        select m.seq, m.role, m.content
        from chat_messages m
        where m.session_id = session.session_id
          and m.seq < coalesce((select seq from repeated), 9223372036854775807)
        order by m.seq desc
        limit $9
    ) m
),
context as (
    select seq, role, content
    from recent
    where characters <= $10
)
select
    case
        when judged.outcome = 'started' and not exists (select from session) then 'stale'
        else judged.outcome
    end as outcome,
    coalesce((select seq from question), (select seq from repeated)) as question_seq,
    (select array_agg(role order by seq) from context) as context_roles,
    (select array_agg(content order by seq) from context) as context_contents,
    repeated.response_id,
    repeated.answer_seq,
    repeated.content,
    repeated.audio_files,
    repeated.function_calls,
    repeated.model,
    repeated.input_tokens,
    repeated.output_tokens
from judged
left join repeated on judged.outcome = 'answered'
