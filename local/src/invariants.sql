-- The invariants of a Daissy database. Returns a row for each violation, and none if all hold.
-- It only reads, in one snapshot, so it may run on a live database:
--
--     psql "$DATABASE_URL" -f local/src/invariants.sql
--
-- `cargo run -- verify` runs the same statement.
with
-- A session that is being erased is whole no more. Not materialized, or it would be a copy of everything.
sessions as not materialized (
    select *
    from public.chat_sessions
    where erased_at is null
),
messages as not materialized (
    select m.*
    from public.chat_messages m
    join sessions using (session_id)
),
counted as (
    select
        session_id,
        count(*) as message_count,
        count(*) filter (where role = 'user') as user_messages,
        count(*) filter (where role = 'assistant') as assistant_messages,
        count(distinct seq) as places,
        min(seq) as first_seq,
        max(seq) as last_seq,
        coalesce(sum(audio_file_count) filter (where role = 'assistant'), 0)
            as audio_files_provided,
        coalesce(sum(input_tokens), 0) as input_tokens,
        coalesce(sum(output_tokens), 0) as output_tokens,
        coalesce(max(json_bytes_through), 0) as json_bytes,
        min(timestamp) as first_message_time,
        max(timestamp) as last_message_time
    from messages
    group by session_id
),
violations as (
    select
        session_id,
        'order' as invariant,
        format(
            '%s messages at %s positions from %s to %s',
            message_count, places, first_seq, last_seq
        ) as detail
    from counted
    where places <> message_count
       or first_seq <> 1
       or last_seq <> message_count

    union all
    select
        s.session_id,
        'counters',
        format(
            'stored: %s; counted: %s',
            row(s.message_count, s.user_messages, s.assistant_messages, s.audio_files_provided,
                s.input_tokens, s.output_tokens, s.json_bytes, s.first_message_time,
                s.last_message_time),
            row(c.message_count, c.user_messages, c.assistant_messages, c.audio_files_provided,
                c.input_tokens, c.output_tokens, c.json_bytes, c.first_message_time,
                c.last_message_time)
        )
    from sessions s
    left join counted c using (session_id)
    where s.message_count <> coalesce(c.message_count, 0)
       or s.user_messages <> coalesce(c.user_messages, 0)
       or s.assistant_messages <> coalesce(c.assistant_messages, 0)
       or s.audio_files_provided <> coalesce(c.audio_files_provided, 0)
       or s.input_tokens <> coalesce(c.input_tokens, 0)
       or s.output_tokens <> coalesce(c.output_tokens, 0)
       or s.json_bytes <> coalesce(c.json_bytes, 0)
       or s.first_message_time is distinct from c.first_message_time
       or s.last_message_time is distinct from c.last_message_time

    union all
    select answer.session_id, 'answers', format('message %s answers nothing', answer.seq)
    from messages answer
    left join public.chat_messages question
        on question.session_id = answer.session_id
        and question.seq = answer.reply_to_seq
    where answer.role = 'assistant'
      and (question.role is distinct from 'user' or question.seq >= answer.seq)
      -- The Python server could lose a question. Its answers name no model; those of a turn always do.
      and (answer.reply_to_seq is not null or answer.model is not null)

    union all
    select session_id, 'answers', format('message %s is answered %s times', reply_to_seq, count(*))
    from messages
    where reply_to_seq is not null
    group by session_id, reply_to_seq
    having count(*) > 1

    union all
    select session_id, 'sizes', format('message %s: %s', seq, detail)
    from (
        select
            session_id, seq,
            case
                when characters <> length(content)
                    then format('%s characters, stored as %s', length(content), characters)
                when json_bytes_through <= lag(json_bytes_through, 1, 0::bigint) over (
                    partition by session_id order by seq
                )
                    then 'its running total is not greater than the one before'
                when audio_file_count <> case jsonb_typeof(audio_files)
                    when 'array' then jsonb_array_length(audio_files)
                    else 0
                end
                    then format('%s recordings are counted', audio_file_count)
            end as detail
        from messages
    ) sized
    where detail is not null

    union all
    select session_id, 'times', format('message %s is earlier than the one before', seq)
    from (
        select
            session_id, seq, timestamp,
            lag(timestamp) over (partition by session_id order by seq) as before
        from messages
    ) timed
    where timestamp < before

    union all
    select session_id, 'lease', format('a turn holds it until %s', lease_until)
    from sessions
    -- No turn may take longer: at most 900 s for the model, plus the time to begin and finish.
    where lease_until > clock_timestamp() + interval '910 seconds'
       or (lease_id is null) <> (lease_until is null)

    union all
    select copy.session_id, 'copies', 'the message it was copied at is not where it was'
    from sessions copy
    -- A source may have been erased since.
    join sessions source on source.session_id = copy.forked_from_session_id
    left join public.chat_messages point
        on point.session_id = copy.forked_from_session_id
        and point.message_id = copy.forked_from_message_id
    where point.seq is distinct from copy.forked_seq

    union all
    select copy.session_id, 'copies', format('message %s is copied, or is not', m.seq)
    from sessions copy
    join messages m using (session_id)
    where (m.origin_message_id is not null) <> (m.seq <= coalesce(copy.forked_seq, 0))

    union all
    select s.session_id, 'erased', 'it is recorded as erased, and open'
    from sessions s
    join public.chat_erasures using (session_id)

    union all
    select s.session_id, 'erased', 'it is marked as erased, and not recorded or recorded as finished'
    from public.chat_sessions s
    left join public.chat_erasures e using (session_id)
    where s.erased_at is not null
      and (e.session_id is null or e.finished_at is not null)

    union all
    -- Of sessions that do not exist.
    select session_id, 'erased', format('%s %s are left of it', count(*), rows)
    from (
        select session_id, 'messages' as rows from public.chat_messages
        union all
        select session_id, 'events' from public.chat_events
        union all
        select session_id, 'feedback' from public.chat_feedback
        union all
        select session_id, 'search entries' from public.chat_search
        union all
        select session_id, 'streams' from public.chat_streams
    ) parts
    where not exists (
        select from public.chat_sessions s where s.session_id = parts.session_id
    )
    group by session_id, rows

    union all
    -- Of no session.
    select
        '00000000-0000-0000-0000-000000000000', 'words',
        format('%s words of recordings are miscounted in %s', count(*), configuration)
    from (
        select configuration, word, count(*) as recordings, count(*) filter (where is_headline) as headlines
        from (
            select r.configuration, l.lexeme as word, l.weights && '{A,B}' as is_headline
            from public.audio_resources r
            cross join unnest(r.vector) l
            where r.is_active
            union all
            select r.configuration, '', true
            from public.audio_resources r
            where r.is_active
        ) words
        group by configuration, word
    ) counted
    full join public.audio_words stored using (configuration, word)
    where (coalesce(counted.recordings, 0), coalesce(counted.headlines, 0))
        <> (coalesce(stored.recordings, 0), coalesce(stored.headlines, 0))
    group by configuration
)
select session_id, invariant, detail
from violations
order by session_id, invariant, detail
