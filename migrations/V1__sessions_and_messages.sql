-- The conversations: a session, and the messages said in it.
--
-- Every key and constraint contains `session_id`, except for the primary keys on `id`, so that the
-- tables can be distributed by it (docs/scale.md).

create table public.chat_sessions (
    id bigint generated always as identity
        constraint chat_sessions_pkey primary key,
    session_id uuid not null
        constraint chat_sessions_session_id_key unique,
    -- The subject that an authorizer vouches for; null where none is configured.
    owner text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    is_active boolean not null default true,

    -- Counters. They change with the messages, so that statistics cost the same for a long session as
    -- for a short one.
    message_count bigint not null default 0,
    user_messages bigint not null default 0,
    assistant_messages bigint not null default 0,
    -- How many recordings the assistant recommended.
    audio_files_provided bigint not null default 0,
    input_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    -- The size of the whole history as JSON, in bytes.
    json_bytes bigint not null default 0,
    first_message_time timestamptz,
    last_message_time timestamptz,

    -- The turn in progress: who works on it and until when. It ends by itself, so a function that
    -- died blocks nobody for longer than that.
    lease_id uuid,
    lease_until timestamptz,
    -- Whether the turn in progress is streamed. Then it also ends when it gives no sign of life
    -- (chat_streams).
    lease_is_streamed boolean not null default false,

    -- The session and message this one is a copy of, and the position of that message. Not a foreign
    -- key, which would forbid erasing the source.
    forked_from_session_id uuid,
    forked_from_message_id uuid,
    forked_seq bigint,

    -- The beginning of the first question.
    title text,
    -- The one that the caller gave, which takes precedence.
    own_title text,
    is_pinned boolean not null default false,
    is_archived boolean not null default false,
    metadata jsonb,
    -- Erased for its callers from this moment on; its rows follow.
    erased_at timestamptz,

    -- When it was last used: at its last message, or when it was made if it is a copy and that is later;
    -- null before the first message.
    last_used_at timestamptz generated always as (
        greatest(last_message_time, case when forked_seq is not null then created_at end)
    ) stored,
    -- The same in whole hours since 1970. Sessions are found by it, and sorted within the hour: with the
    -- time itself in an index, every message would add an entry to each index of this table, because only
    -- a row whose indexed columns stay the same is updated in place.
    last_used_hour integer generated always as (
        -- Not extract, which computes in numeric.
        floor(date_part('epoch',
            greatest(last_message_time, case when forked_seq is not null then created_at end)
            - timestamptz '1970-01-01 00:00:00+00'
        ) / 3600)::integer
    ) stored,

    constraint chat_sessions_lease_check
        check ((lease_id is null) = (lease_until is null)),
    constraint chat_sessions_forked_from_check
        check (num_nulls(forked_from_session_id, forked_from_message_id, forked_seq) in (0, 3))
)
-- The row changes with every message; room in its page lets it stay there (a HOT update).
with (fillfactor = 80);

-- An owner's sessions, all of them, in the order in which they were opened.
create index chat_sessions_owner on public.chat_sessions (owner, created_at);

-- An owner's sessions, the one used last at the end; archived and pinned ones also by themselves.
create index chat_sessions_in_use on public.chat_sessions (owner, last_used_hour)
    where not is_archived and erased_at is null and last_used_hour is not null;
create index chat_sessions_archived on public.chat_sessions (owner, last_used_hour)
    where is_archived and erased_at is null and last_used_hour is not null;
create index chat_sessions_pinned on public.chat_sessions (owner, last_used_hour)
    where is_pinned and erased_at is null and last_used_hour is not null;

create table public.chat_messages (
    id bigint generated always as identity
        constraint chat_messages_pkey primary key,
    -- The record is kept: a session with messages cannot be deleted.
    session_id uuid not null
        constraint chat_messages_session_id_fkey
            references public.chat_sessions (session_id) on delete restrict,
    -- The position in the session, without gaps; it is handed out by the counter in the session's row,
    -- never taken from a time.
    seq bigint not null
        constraint chat_messages_seq_check check (seq > 0),
    -- The `seq` of the question that an answer belongs to.
    reply_to_seq bigint,
    message_id uuid not null,
    timestamp timestamptz not null default now(),
    role text not null
        constraint chat_messages_role_check check (role in ('user', 'assistant')),
    content text not null,
    audio_files jsonb,
    function_calls jsonb,
    metadata jsonb,

    -- A digest of a question, to tell whether a repeated message_id comes with the same text.
    content_digest bytea,
    -- The length of the content, in characters.
    characters integer not null,
    -- The size of the history up to and including this message as JSON, in bytes.
    json_bytes_through bigint not null,
    -- How many recordings are in `audio_files`.
    audio_file_count integer not null default 0,

    -- Of answers: the model, what it was billed for, why it stopped, and how long it took.
    model text,
    input_tokens bigint,
    cached_input_tokens bigint,
    output_tokens bigint,
    finish_reason text,
    latency_ms integer,
    first_token_ms integer,

    -- In a copy, the message that was copied, where it was said first.
    origin_message_id uuid,

    constraint chat_messages_reply_to_seq_check
        check (reply_to_seq is null or (role = 'assistant' and reply_to_seq < seq)),
    constraint chat_messages_session_id_seq_key unique (session_id, seq),
    -- An id is unique where it is used: no message is ever looked up across sessions.
    constraint chat_messages_session_id_message_id_key unique (session_id, message_id)
);

-- The way from a question to an answer that does not follow it directly; one that does is found by
-- its `seq`. Nearly all do, so that this index is nearly empty.
create unique index chat_messages_session_id_reply_to_seq_key
    on public.chat_messages (session_id, reply_to_seq)
    where reply_to_seq <> seq - 1;
