-- The two tables of the chat history: a session, and the messages said in it.

create table chat_sessions (
    id bigint generated always as identity
        constraint chat_sessions_pkey primary key,
    session_id uuid not null
        constraint chat_sessions_session_id_key unique,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    is_active boolean not null default true
);

create table chat_messages (
    id bigint generated always as identity
        constraint chat_messages_pkey primary key,
    -- The record is kept: a session with messages cannot be deleted.
    session_id uuid not null
        constraint chat_messages_session_id_fkey
            references chat_sessions (session_id) on delete restrict,
    message_id uuid not null,
    role text not null
        constraint chat_messages_role_check check (role in ('user', 'assistant')),
    content text not null,
    timestamp timestamptz not null default now(),
    audio_files jsonb,
    function_calls jsonb,
    metadata jsonb,
    -- An id is unique where it is used: no message is ever looked up across sessions.
    constraint chat_messages_session_id_message_id_key unique (session_id, message_id)
);
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
-- Turns: which answer belongs to which question, who is working on one, and what it cost.

alter table chat_sessions
    -- The turn in progress: who works on it and until when. It ends by itself, so a function that
    -- died blocks nobody for longer than that.
    add column lease_id uuid,
    add column lease_until timestamptz,
    add column input_tokens bigint not null default 0,
    add column output_tokens bigint not null default 0,
    -- The session and message this one is a copy of.
    add column forked_from_session_id uuid
        constraint chat_sessions_forked_from_session_id_fkey
            references chat_sessions (session_id) on delete restrict,
    add column forked_from_message_id uuid,
    add constraint chat_sessions_lease_check
        check ((lease_id is null) = (lease_until is null)),
    add constraint chat_sessions_forked_from_check
        check ((forked_from_session_id is null) = (forked_from_message_id is null));

alter table chat_messages
    -- The `seq` of the user message that this message answers.
    add column reply_to_seq bigint,
    add column model text,
    add column input_tokens bigint,
    add column output_tokens bigint;

-- Messages of the time before: an answer belongs to the question right before it.
update chat_messages answer
set reply_to_seq = question.seq
from chat_messages question
where answer.role = 'assistant'
  and question.session_id = answer.session_id
  and question.seq = answer.seq - 1
  and question.role = 'user';

alter table chat_messages
    add constraint chat_messages_reply_to_seq_check
        check (reply_to_seq is null or (role = 'assistant' and reply_to_seq < seq)),
    -- One answer for one question. Also the way from a question to its answer.
    add constraint chat_messages_session_id_reply_to_seq_key unique (session_id, reply_to_seq);
