-- Finishes a turn: stores the answer, updates the counters and releases the lease, but only for the
-- holder of the lease. Sent again, it finds the answer already stored.
--
-- `outcome` is one of:
--     finished    the answer is stored: its position
--     busy        another call has the lease, or had it since: nothing is stored
--     not_found   erased meanwhile, or another owner's: nothing is stored
create function public.chat_finish_turn_v1(
    in_session_id uuid,
    in_owner text,
    in_lease_id uuid,
    in_question_seq bigint,
    in_response_id uuid,
    in_content text,
    in_characters integer,
    -- The size of the message as JSON without what is in the jsonb columns, in bytes.
    in_json_bytes bigint,
    in_audio_files jsonb,
    in_audio_file_count integer,
    in_function_calls jsonb,
    in_metadata jsonb,
    in_model text,
    in_finish_reason text,
    in_input_tokens bigint,
    in_cached_input_tokens bigint,
    in_output_tokens bigint,
    in_latency_ms integer,
    in_first_token_ms integer,
    in_is_streamed boolean,
    out outcome text,
    out seq bigint
)
language plpgsql
security invoker
as $$
declare
    session record;
    clock constant timestamptz := clock_timestamp();
    added_bytes constant bigint := in_json_bytes
        + coalesce(octet_length(in_audio_files::text), 0)
        + coalesce(octet_length(in_function_calls::text), 0)
        + coalesce(octet_length(in_metadata::text), 0);
begin
    update public.chat_sessions s
    set message_count = s.message_count + 1,
        assistant_messages = s.assistant_messages + 1,
        audio_files_provided = s.audio_files_provided + in_audio_file_count,
        input_tokens = s.input_tokens + coalesce(in_input_tokens, 0),
        output_tokens = s.output_tokens + coalesce(in_output_tokens, 0),
        json_bytes = s.json_bytes + added_bytes,
        last_message_time = greatest(s.last_message_time, clock),
        updated_at = greatest(s.updated_at, clock),
        lease_id = null,
        lease_until = null,
        lease_is_streamed = false
    where s.session_id = in_session_id
      and s.owner is not distinct from in_owner
      and s.erased_at is null
      and s.lease_id = in_lease_id
    returning s.message_count, s.json_bytes, s.last_message_time
    into session;

    if not found then
        select case when m.seq is null then 'busy' else 'finished' end, m.seq
        into outcome, seq
        from public.chat_sessions s
        left join public.chat_messages m
            on m.session_id = s.session_id
            and m.message_id = in_response_id
        where s.session_id = in_session_id
          and s.owner is not distinct from in_owner
          and s.erased_at is null;
        if not found then
            outcome := 'not_found';
        end if;
        return;
    end if;

    if in_is_streamed then
        delete from public.chat_streams w
        where w.session_id = in_session_id;
    end if;

    outcome := 'finished';
    seq := session.message_count;
    insert into public.chat_messages (
        session_id, seq, reply_to_seq, message_id, timestamp, role, content, characters,
        json_bytes_through, audio_files, audio_file_count, function_calls, metadata, model,
        finish_reason, input_tokens, cached_input_tokens, output_tokens, latency_ms, first_token_ms
    )
    values (
        in_session_id, session.message_count, in_question_seq, in_response_id,
        session.last_message_time, 'assistant', in_content, in_characters, session.json_bytes,
        in_audio_files, in_audio_file_count, in_function_calls, in_metadata, in_model,
        in_finish_reason, in_input_tokens, in_cached_input_tokens, in_output_tokens, in_latency_ms,
        in_first_token_ms
    );
end
$$;

revoke execute on function public.chat_finish_turn_v1 from public;
