-- Reads how far a turn is: the one of a question, named by `in_message_id`, `in_question_seq` or both, else
-- the streamed one in progress. Of its text, the pieces from the one on in which the reader's place is:
-- `in_seen_characters` characters of the answer `in_seen_response_id`.
--
-- `outcome` is one of:
--     session_not_found   no such session, erased, or another owner's
--     message_not_found   no such question in the session
--     none                no question was named, and no streamed turn is in progress
--     streaming           in progress: its text so far
--     waiting             in progress, but not streamed
--     interrupted         no longer in progress, and without an answer
--     answered            the answer
create function public.chat_read_stream_v1(
    in_session_id uuid,
    in_owner text,
    in_message_id uuid,
    in_question_seq bigint,
    in_seen_response_id uuid,
    in_seen_characters integer,
    in_dead_after_seconds double precision,
    out outcome text,
    out question_seq bigint,
    out message_id uuid,
    out query text,
    -- Of the answer, also while it is being written.
    out response_id uuid,
    -- The characters of the text before the first of these pieces.
    out characters_before integer,
    out pieces text[],
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
stable
security invoker
as $$
declare
    session record;
    question record;
    stream record;
    is_in_progress boolean;
    seen integer := 0;
begin
    select s.message_count, s.lease_id, s.lease_until, s.lease_is_streamed
    into session
    from public.chat_sessions s
    where s.session_id = in_session_id
      and s.owner is not distinct from in_owner
      and s.erased_at is null;
    if not found then
        outcome := 'session_not_found';
        return;
    end if;
    is_in_progress := coalesce(session.lease_until > clock_timestamp(), false);

    select w.*
    into stream
    from public.chat_streams w
    where w.session_id = in_session_id
      and w.lease_id = session.lease_id;

    if in_message_id is not null or in_question_seq is not null then
        select m.seq, m.message_id, m.content
        into question
        from public.chat_messages m
        where m.session_id = in_session_id
          and m.message_id = coalesce(in_message_id, m.message_id)
          and m.seq = coalesce(in_question_seq, m.seq)
          and m.role = 'user';
        if not found then
            outcome := 'message_not_found';
            return;
        end if;
    elsif session.lease_is_streamed then
        if stream.question_seq is null then
            outcome := 'interrupted';
            return;
        end if;
        select m.seq, m.message_id, m.content
        into question
        from public.chat_messages m
        where m.session_id = in_session_id
          and m.seq = stream.question_seq;
    else
        outcome := 'none';
        return;
    end if;
    question_seq := question.seq;
    message_id := question.message_id;
    query := question.content;

    select a.*
    into response_id, answer_seq, content, audio_files, function_calls, model, finish_reason,
        input_tokens, output_tokens
    from public.chat_answer_v1(in_session_id, question_seq) a;
    if found then
        outcome := 'answered';
        return;
    end if;

    if not session.lease_is_streamed then
        outcome := case
            when is_in_progress and question.seq = session.message_count then 'waiting'
            else 'interrupted'
        end;
        return;
    end if;
    if not is_in_progress
        or stream.question_seq is distinct from question.seq
        or stream.alive_at <= clock_timestamp() - make_interval(secs => in_dead_after_seconds)
    then
        outcome := 'interrupted';
        return;
    end if;

    outcome := 'streaming';
    response_id := stream.lease_id;
    if in_seen_response_id = stream.lease_id then
        select count(*)
        into seen
        from unnest(stream.characters_through) through
        where through <= in_seen_characters;
    end if;
    characters_before := coalesce(stream.characters_through[seen], 0);
    pieces := stream.pieces[seen + 1:];
end
$$;

revoke execute on function public.chat_read_stream_v1 from public;
