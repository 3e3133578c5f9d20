-- What is to be remembered beside the conversations.

-- Events that are no messages. They say nothing of what was said, but when somebody was there, so they
-- are erased with their session.
create table public.chat_events (
    session_id uuid not null,
    -- Made before the first attempt to store it, so that a repeated statement adds nothing.
    event_id uuid not null,
    created_at timestamptz not null default clock_timestamp(),
    kind text not null
        constraint chat_events_kind_check
            check (kind in ('reset', 'replay', 'model_error', 'model_timeout')),
    -- The position of the question it concerns.
    question_seq bigint,
    constraint chat_events_pkey primary key (session_id, event_id)
);

-- Sessions that were erased: which, when, how many messages and on whose behalf, and nothing of what
-- was said or by whom. An id in here is never opened again. It is also what is left to do: `maintain`
-- deletes the rows of the sessions in here, and finishes each when the last one is gone.
create table public.chat_erasures (
    session_id uuid not null
        constraint chat_erasures_pkey primary key,
    -- Of a caller's request, made before it was first sent, so that a repeated statement finds what it
    -- did.
    request_id uuid,
    erased_at timestamptz not null default clock_timestamp(),
    message_count bigint not null,
    on_behalf_of text not null
        constraint chat_erasures_on_behalf_of_check
            check (on_behalf_of in ('caller', 'retention', 'operator')),
    -- When the last of its rows was deleted; null while there may be some.
    finished_at timestamptz
);

-- What is left to do, which is little or nothing, while the record grows for ever.
create index chat_erasures_unfinished_key
    on public.chat_erasures (session_id)
    where finished_at is null;

-- What users think of answers. Not part of the messages, whose rows never change.
create table public.chat_feedback (
    session_id uuid not null,
    -- The answer's.
    seq bigint not null,
    updated_at timestamptz not null default clock_timestamp(),
    -- Null, like the comment, if it was taken back.
    rating text
        constraint chat_feedback_rating_check check (rating in ('up', 'down')),
    comment text,
    constraint chat_feedback_pkey primary key (session_id, seq)
);

-- The answer of a streamed turn while it is being written: what has been said so far, for readers that
-- take it up again. The row is made when the turn begins and goes when it ends.
--
-- Unlogged: what is in here is never the only copy of anything that was promised. The server empties the
-- table when it recovers from a crash, and a turn that still runs then makes its row again.
create unlogged table public.chat_streams (
    session_id uuid not null
        constraint chat_streams_pkey primary key,
    -- The turn's lease, which is also the id of the answer.
    lease_id uuid not null,
    question_seq bigint not null,
    -- The text in numbered pieces: writing one again changes nothing. And for each piece, how many
    -- characters the text has up to its end.
    pieces text[] not null default '{}',
    characters_through integer[] not null default '{}',
    -- Whether the caller wants the turn to stop.
    is_stop_requested boolean not null default false,
    -- The last sign of life. Without one for some seconds, the turn's function has died.
    alive_at timestamptz not null default clock_timestamp()
)
-- The row changes every second, and in its page if there is room (a HOT update).
with (fillfactor = 50);
