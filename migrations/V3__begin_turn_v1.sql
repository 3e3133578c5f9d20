-- The estimated tokens of a message's text, from its characters and its bytes: the model's context window is chosen
-- by it, in the same way as in shared/assistant/src/context/size.rs, where it is explained.
create function public.chat_tokens_v1(in_characters integer, in_bytes integer)
returns double precision
language sql
immutable
security invoker
as $$
    select 0.35::double precision * in_characters
        + least(
            1.5::double precision * (in_bytes - in_characters),
            0.4::double precision * in_characters + 0.6::double precision * (in_bytes - in_characters)
        )
$$;

revoke execute on function public.chat_tokens_v1 from public;

-- Begins a turn: opens the session if its id is unused, stores the user's message, takes the lease, and
-- returns the context for the model, newest message first. Otherwise it says why not and changes
-- nothing. Sent again, it finds its own message and lease.
--
-- The context is the newest messages that fit, whole. If the next one is larger than the room for all of them, it
-- could never be shown whole: then its beginning and its end are returned, as much as still fits. So no more
-- leaves the database than the model can be shown, and reading stops there.
--
-- A streamed turn (`in_is_streamed`) gets a row in chat_streams as well. It ends with its lease, or when
-- it has given no sign of life for `in_dead_after_seconds`.
--
-- The lock on the session's row makes its callers wait for each other, so each step sees what is true
-- and not what was. It is held for this function only, never while the model is asked.
--
-- `outcome` is one of:
--     started     the question is stored, and the caller holds the lease
--     answered    the question was answered before: the answer
--     not_found   erased, or another owner's
--     reused      the message_id belongs to another message
--     inactive    the session was reset
--     streaming   this turn is in progress and streamed: the id of its answer
--     busy        another turn holds the lease, or this one, and is not streamed
create function public.chat_begin_turn_v1(
    in_session_id uuid,
    in_owner text,
    -- The title of the session, if this is its first message.
    in_title text,
    in_message_id uuid,
    in_content text,
    in_content_digest bytea,
    in_characters integer,
    -- The size of the message as JSON without what is in the next three, in bytes.
    in_json_bytes bigint,
    in_audio_files jsonb,
    in_audio_file_count integer,
    in_metadata jsonb,
    in_lease_id uuid,
    in_lease_seconds double precision,
    in_is_streamed boolean,
    in_dead_after_seconds double precision,
    -- The context ends before the message that would exceed either.
    in_context_messages bigint,
    in_context_tokens double precision,
    out outcome text,
    out question_seq bigint,
    out context_roles text[],
    out context_contents text[],
    -- Whether there is a recording to recommend.
    out has_recordings boolean,
    -- Whether the oldest of them is shortened.
    out context_is_shortened boolean,
    out response_id uuid,
    out answer_seq bigint,
    out content text,
    out audio_files jsonb,
    out function_calls jsonb,
    out model text,
    out finish_reason text,
    out input_tokens bigint,
    out output_tokens bigint
)
language plpgsql
security invoker
as $$
declare
    session record;
    question record;
    stream record;
    earlier record;
    clock timestamptz;
    bytes_through bigint;
    -- Tokens around each message, for its role and its end.
    message_tokens constant double precision := 6;
    -- A message is not shortened to less.
    min_shortened_tokens constant double precision := 200;
    -- Stands where the middle of a message was.
    mark constant text :=
        E'\n\n[The middle of this message was left out, because it is too long.]\n\n';
    tokens_left double precision := in_context_tokens;
    tokens double precision;
    kept integer;
    shortened text;
begin
    -- The second time, the session has just been opened, by this call or by another.
    for attempt in 1..2 loop
        select
            s.owner, s.is_active, s.erased_at, s.message_count, s.json_bytes, s.last_message_time,
            s.lease_id, s.lease_until, s.lease_is_streamed
        into session
        from public.chat_sessions s
        where s.session_id = in_session_id
        for no key update;
        exit when found;

        if exists (select from public.chat_erasures e where e.session_id = in_session_id) then
            outcome := 'not_found';
            return;
        end if;
        -- With the time of the message that follows, which would otherwise move the row in the index of
        -- last use.
        insert into public.chat_sessions (session_id, owner, last_message_time)
        values (in_session_id, in_owner, clock_timestamp())
        on conflict (session_id) do nothing;
    end loop;
    clock := clock_timestamp();

    if session.owner is distinct from in_owner or session.erased_at is not null then
        outcome := 'not_found';
        return;
    end if;

    select m.seq, m.role, m.content_digest
    into question
    from public.chat_messages m
    where m.session_id = in_session_id
      and m.message_id = in_message_id;
    if found then
        if question.role <> 'user' or question.content_digest is distinct from in_content_digest then
            outcome := 'reused';
            return;
        end if;
        question_seq := question.seq;

        select a.*
        into response_id, answer_seq, content, audio_files, function_calls, model, finish_reason,
            input_tokens, output_tokens
        from public.chat_answer_v1(in_session_id, question_seq) a;
        if found then
            outcome := 'answered';
            insert into public.chat_events (session_id, event_id, kind, question_seq)
            values (in_session_id, in_lease_id, 'replay', question_seq)
            on conflict do nothing;
            return;
        end if;
    end if;

    if not session.is_active then
        outcome := 'inactive';
        return;
    end if;
    if session.lease_id <> in_lease_id and session.lease_until > clock then
        if not session.lease_is_streamed then
            outcome := 'busy';
            return;
        end if;
        select w.question_seq
        into stream
        from public.chat_streams w
        where w.session_id = in_session_id
          and w.lease_id = session.lease_id
          and w.alive_at > clock - make_interval(secs => in_dead_after_seconds);
        if found then
            outcome := 'busy';
            if in_is_streamed and stream.question_seq = question_seq then
                outcome := 'streaming';
                response_id := session.lease_id;
            end if;
            return;
        end if;
    end if;

    if question_seq is null then
        question_seq := session.message_count + 1;
        bytes_through := session.json_bytes
            + in_json_bytes
            + coalesce(octet_length(in_audio_files::text), 0)
            + coalesce(octet_length(in_metadata::text), 0);
        -- If the clock is set back, times must still not run backwards.
        clock := greatest(clock, session.last_message_time);

        update public.chat_sessions s
        set message_count = question_seq,
            user_messages = s.user_messages + 1,
            title = coalesce(s.title, in_title),
            json_bytes = bytes_through,
            first_message_time = coalesce(s.first_message_time, clock),
            last_message_time = clock,
            updated_at = greatest(s.updated_at, clock),
            lease_id = in_lease_id,
            lease_until = clock + make_interval(secs => in_lease_seconds),
            lease_is_streamed = in_is_streamed
        where s.session_id = in_session_id;

        insert into public.chat_messages (
            session_id, seq, message_id, timestamp, role, content, content_digest, characters,
            json_bytes_through, audio_files, audio_file_count, metadata
        )
        values (
            in_session_id, question_seq, in_message_id, clock, 'user', in_content,
            in_content_digest, in_characters, bytes_through, in_audio_files, in_audio_file_count,
            in_metadata
        );
    else
        update public.chat_sessions s
        set updated_at = greatest(s.updated_at, clock),
            lease_id = in_lease_id,
            lease_until = clock + make_interval(secs => in_lease_seconds),
            lease_is_streamed = in_is_streamed
        where s.session_id = in_session_id;
    end if;

    if in_is_streamed then
        insert into public.chat_streams as w (session_id, lease_id, question_seq)
        values (in_session_id, in_lease_id, question_seq)
        on conflict (session_id) do update
        set lease_id = excluded.lease_id,
            question_seq = excluded.question_seq,
            pieces = excluded.pieces,
            characters_through = excluded.characters_through,
            is_stop_requested = excluded.is_stop_requested,
            alive_at = excluded.alive_at;
    elsif session.lease_is_streamed then
        -- Of a turn that died.
        delete from public.chat_streams w
        where w.session_id = in_session_id;
    end if;

    outcome := 'started';
    has_recordings := exists (select from public.audio_resources r where r.is_active);
    context_is_shortened := false;
    for earlier in
        -- The bytes of a text are known without reading it.
        select m.role, m.content, m.characters, octet_length(m.content) as bytes
        from public.chat_messages m
        where m.session_id = in_session_id
          and m.seq < question_seq
        order by m.seq desc
        limit in_context_messages
    loop
        tokens := public.chat_tokens_v1(earlier.characters, earlier.bytes) + message_tokens;
        if tokens > tokens_left then
            exit when tokens <= in_context_tokens or tokens_left < min_shortened_tokens;
            kept := floor(earlier.characters * tokens_left / tokens);
            loop
                shortened := left(earlier.content, kept - kept / 2) || mark
                    || right(earlier.content, kept / 2);
                tokens := public.chat_tokens_v1(char_length(shortened), octet_length(shortened))
                    + message_tokens;
                exit when tokens <= tokens_left or kept = 0;
                -- The parts may be denser than the whole, and there is the mark.
                kept := floor(least(kept - 1, kept * tokens_left / tokens));
            end loop;
            context_roles := array_append(context_roles, earlier.role);
            context_contents := array_append(context_contents, shortened);
            context_is_shortened := true;
            exit;
        end if;
        tokens_left := tokens_left - tokens;
        context_roles := array_append(context_roles, earlier.role);
        context_contents := array_append(context_contents, earlier.content);
    end loop;
end
$$;

revoke execute on function public.chat_begin_turn_v1 from public;
