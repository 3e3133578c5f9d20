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
