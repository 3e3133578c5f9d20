-- Order, counters and ownership.
--
-- `seq` is the place of a message in its session, without gaps; it is handed out by the counter in
-- the session's row, never taken from a time. The counters change with the messages, so that
-- statistics cost the same for a long session as for a short one.

alter table chat_sessions
    -- The subject that an authorizer vouches for; null where none is configured.
    add column owner text,
    add column message_count bigint not null default 0,
    add column user_messages bigint not null default 0,
    add column assistant_messages bigint not null default 0,
    -- How many recordings the assistant recommended in the session.
    add column audio_files_provided bigint not null default 0,
    add column first_message_time timestamptz,
    add column last_message_time timestamptz;

-- The row changes with every message; room in its page lets it stay there (a HOT update).
alter table chat_sessions set (fillfactor = 80);

alter table chat_messages add column seq bigint;

update chat_messages m
set seq = placed.seq
from (
    select id, row_number() over (partition by session_id order by timestamp, id) as seq
    from chat_messages
) placed
where placed.id = m.id;

alter table chat_messages
    alter column seq set not null,
    add constraint chat_messages_seq_check check (seq > 0),
    add constraint chat_messages_session_id_seq_key unique (session_id, seq);

update chat_sessions s
set message_count = counted.message_count,
    user_messages = counted.user_messages,
    assistant_messages = counted.assistant_messages,
    audio_files_provided = counted.audio_files_provided,
    first_message_time = counted.first_message_time,
    last_message_time = counted.last_message_time
from (
    select
        session_id,
        count(*) as message_count,
        count(*) filter (where role = 'user') as user_messages,
        count(*) filter (where role = 'assistant') as assistant_messages,
        coalesce(sum(jsonb_array_length(audio_files)) filter (
            where role = 'assistant' and jsonb_typeof(audio_files) = 'array'
        ), 0) as audio_files_provided,
        min(timestamp) as first_message_time,
        max(timestamp) as last_message_time
    from chat_messages
    group by session_id
) counted
where counted.session_id = s.session_id;
