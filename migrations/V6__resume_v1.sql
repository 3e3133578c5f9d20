-- Resumes a session: it becomes active again if it was reset. Returns the end of its history, as
-- `chat_history_v1` does.
create function public.chat_resume_v1(
    in_session_id uuid,
    in_owner text,
    in_messages bigint,
    in_json_bytes bigint
)
returns table (
    message_count bigint,
    seq bigint,
    message_id uuid,
    role text,
    content text,
    "timestamp" timestamptz,
    audio_files jsonb,
    function_calls jsonb,
    metadata jsonb,
    rating text,
    comment text
)
language plpgsql
security invoker
as $$
begin
    update public.chat_sessions s
    set is_active = true,
        updated_at = greatest(s.updated_at, clock_timestamp())
    where s.session_id = in_session_id
      and s.owner is not distinct from in_owner
      and s.erased_at is null
      and not s.is_active;

    return query
    select h.*
    from public.chat_history_v1(in_session_id, in_owner, null, null, in_messages, true, in_json_bytes) h;
end
$$;

revoke execute on function public.chat_resume_v1 from public;
