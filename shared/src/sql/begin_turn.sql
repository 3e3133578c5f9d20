-- Begins a turn: opens the session if nobody has used its id, stores the user's message, takes the
-- lease, and gives the context for the model. Or says why not, and changes nothing.
--
-- All is decided on one snapshot (`seen`), and the session's row is written only if it is still as
-- it was there. Otherwise the outcome is `stale`: the caller sends the statement again.
--
-- $1 session_id, $2 whether the caller chose it, $3 owner, $4 message_id, $5 content,
-- $6 audio_files, $7 metadata, $8 lease_id, $9 lease in seconds, $10 number of messages of context
with
clock as materialized (
    select clock_timestamp() as now
),
-- A repeated call that names no session means the one in which its message is.
chosen as materialized (
    select coalesce(
        (
            select s.session_id
            from chat_messages m
            join chat_sessions s using (session_id)
            where m.message_id = $4
              and s.owner is not distinct from $3
              and not $2
        ),
        $1
    ) as session_id
),
seen as (
    select s.owner, s.is_active, s.message_count, s.lease_id, s.lease_until
    from chosen
    join chat_sessions s using (session_id)
),
repeated as (
    select
        m.seq,
        m.session_id = chosen.session_id and m.role = 'user' and m.content = $5 as is_same,
        answer.message_id as response_id,
        answer.seq as answer_seq,
        answer.content,
        answer.audio_files,
        answer.function_calls,
        answer.model,
        answer.input_tokens,
        answer.output_tokens
    from chosen
    cross join chat_messages m
    left join chat_messages answer
        on answer.session_id = m.session_id
        and answer.reply_to_seq = m.seq
    where m.message_id = $4
),
judged as (
    select
        case
            when exists (select from seen where owner is distinct from $3) then 'not_found'
            when exists (select from repeated where not is_same) then 'reused'
            when exists (select from repeated where response_id is not null) then 'answered'
            when exists (select from seen where not is_active) then 'inactive'
            when exists (
                select from seen
                where lease_id <> $8
                  and lease_until > (select now from clock)
            ) then 'busy'
            else 'started'
        end as outcome,
        -- 1 for a new message, 0 for one that is there already.
        (not exists (select from repeated))::int as added
),
session as (
    insert into chat_sessions as s (
        session_id, owner, created_at, updated_at, message_count, user_messages,
        first_message_time, last_message_time, lease_id, lease_until
    )
    select
        chosen.session_id, $3, now, now, 1, 1, now, now, $8, now + make_interval(secs => $9)
    from judged
    cross join chosen
    cross join clock
    where outcome = 'started'
    on conflict (session_id) do update
    set message_count = s.message_count + (select added from judged),
        user_messages = s.user_messages + (select added from judged),
        first_message_time = coalesce(s.first_message_time, excluded.first_message_time),
        -- A clock that is set back must not turn the record around.
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
    select session_id, message_count, $4, 'user', $5, last_message_time, $6, $7
    from session
    cross join judged
    where judged.added = 1
    returning seq
),
context as (
    select recent.*
    from session
    -- For this one session, so that its index is read from the end and no further than the limit.
    cross join lateral (
        select m.seq, m.role, m.content
        from chat_messages m
        where m.session_id = session.session_id
          and m.seq < coalesce((select seq from repeated), 9223372036854775807)
        order by m.seq desc
        limit $10
    ) recent
)
select
    chosen.session_id,
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
cross join chosen
left join repeated on judged.outcome = 'answered'
