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
