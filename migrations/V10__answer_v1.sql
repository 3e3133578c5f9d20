-- The answer to a question, as the functions that begin a turn and read a stream return it; no row if there is
-- none.
create function public.chat_answer_v1(in_session_id uuid, in_question_seq bigint)
returns table (
    response_id uuid,
    answer_seq bigint,
    content text,
    audio_files jsonb,
    function_calls jsonb,
    model text,
    finish_reason text,
    input_tokens bigint,
    output_tokens bigint
)
language plpgsql
stable
security invoker
as $$
begin
    -- It follows its question directly, but for one that another turn got ahead of.
    return query
    select
        m.message_id, m.seq, m.content, m.audio_files, m.function_calls, m.model, m.finish_reason,
        m.input_tokens, m.output_tokens
    from public.chat_messages m
    where m.session_id = in_session_id
      and m.seq = in_question_seq + 1
      and m.reply_to_seq = in_question_seq;
    if not found then
        return query
        select
            m.message_id, m.seq, m.content, m.audio_files, m.function_calls, m.model, m.finish_reason,
            m.input_tokens, m.output_tokens
        from public.chat_messages m
        where m.session_id = in_session_id
          and m.reply_to_seq = in_question_seq
          and m.reply_to_seq <> m.seq - 1;
    end if;
end
$$;

revoke execute on function public.chat_answer_v1 from public;
