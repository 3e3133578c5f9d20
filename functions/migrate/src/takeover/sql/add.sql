-- Adds messages and their conversations, or adds to the counters of one that an earlier batch began.
--
-- $1 to $12 a list for each column of the messages, $13 to $18 of the conversations
with
line as (
    select *
    from unnest(
        $1::uuid[], $2::bigint[], $3::bigint[], $4::uuid[], $5::timestamptz[], $6::text[],
        $7::bytea[], $8::integer[], $9::bigint[], $10::jsonb[], $11::jsonb[], $12::jsonb[]
    ) as line (
        session_id, seq, reply_to_seq, message_id, timestamp, content, content_digest, characters,
        json_bytes, audio_files, function_calls, extra_data
    )
),
-- The API has lists of objects or null, and the server kept results of its one function, not calls.
converted as (
    select
        session_id, seq, reply_to_seq, message_id, timestamp, content, content_digest, characters,
        json_bytes,
        case when audio_files is not null then (
            select jsonb_agg(
                case jsonb_typeof(item)
                    when 'object' then item
                    else jsonb_build_object('value', item)
                end
                order by place
            )
            from jsonb_array_elements(
                case jsonb_typeof(audio_files)
                    when 'array' then audio_files
                    else jsonb_build_array(audio_files)
                end
            ) with ordinality as listed (item, place)
        ) end as audio_files,
        case when function_calls is not null then (
            select jsonb_agg(
                case
                    when jsonb_typeof(item) = 'object' and item ? 'name' and item ? 'arguments' then item
                    else jsonb_build_object(
                        'name', 'search_audio_resources',
                        'arguments', case
                            when jsonb_typeof(item) = 'object' and item ? 'search_query'
                                then jsonb_build_object('query', item -> 'search_query')
                            else '{}'
                        end,
                        'result', item
                    )
                end
                order by place
            )
            from jsonb_array_elements(
                case jsonb_typeof(function_calls)
                    when 'array' then function_calls
                    else jsonb_build_array(function_calls)
                end
            ) with ordinality as listed (item, place)
        ) end as function_calls,
        case
            when jsonb_typeof(extra_data) = 'object' then extra_data
            when extra_data <> '[]' then jsonb_build_object('extra_data', extra_data)
        end as metadata
    from line
),
sized as (
    select
        m.*,
        coalesce(s.json_bytes, 0) + sum(
            m.json_bytes
            + coalesce(octet_length(m.audio_files::text), 0)
            + coalesce(octet_length(m.function_calls::text), 0)
            + coalesce(octet_length(m.metadata::text), 0)
        ) over (partition by m.session_id order by m.seq) as json_bytes_through,
        coalesce(jsonb_array_length(m.audio_files), 0) as audio_file_count
    from converted m
    left join public.chat_sessions s using (session_id)
),
added as (
    insert into public.chat_messages (
        session_id, seq, reply_to_seq, message_id, timestamp, role, content, content_digest, characters,
        json_bytes_through, audio_files, audio_file_count, function_calls, metadata
    )
    select
        session_id, seq, reply_to_seq, message_id, timestamp,
        case when content_digest is not null then 'user' else 'assistant' end,
        content, content_digest, characters, json_bytes_through, audio_files, audio_file_count,
        function_calls, metadata
    from sized
    order by session_id, seq
),
counted as (
    select
        session_id,
        count(*) as message_count,
        count(content_digest) as user_messages,
        count(*) - count(content_digest) as assistant_messages,
        coalesce(sum(audio_file_count) filter (where content_digest is null), 0)
            as audio_files_provided,
        max(json_bytes_through) as json_bytes,
        min(timestamp) as first_message_time,
        max(timestamp) as last_message_time
    from sized
    group by session_id
)
insert into public.chat_sessions as s (
    session_id, owner, created_at, updated_at, is_active, title, message_count, user_messages,
    assistant_messages, audio_files_provided, json_bytes, first_message_time, last_message_time
)
select
    conversation.session_id, owner, created_at,
    coalesce(greatest(updated_at, last_message_time), created_at), is_active, title,
    coalesce(message_count, 0), coalesce(user_messages, 0), coalesce(assistant_messages, 0),
    coalesce(audio_files_provided, 0), coalesce(json_bytes, 0), first_message_time,
    last_message_time
from unnest(
    $13::uuid[], $14::text[], $15::timestamptz[], $16::timestamptz[], $17::boolean[], $18::text[]
) as conversation (session_id, owner, created_at, updated_at, is_active, title)
left join counted using (session_id)
order by conversation.session_id
on conflict (session_id) do update
set updated_at = greatest(s.updated_at, excluded.updated_at),
    title = coalesce(s.title, excluded.title),
    message_count = s.message_count + excluded.message_count,
    user_messages = s.user_messages + excluded.user_messages,
    assistant_messages = s.assistant_messages + excluded.assistant_messages,
    audio_files_provided = s.audio_files_provided + excluded.audio_files_provided,
    json_bytes = greatest(s.json_bytes, excluded.json_bytes),
    first_message_time = coalesce(s.first_message_time, excluded.first_message_time),
    last_message_time = greatest(s.last_message_time, excluded.last_message_time)
