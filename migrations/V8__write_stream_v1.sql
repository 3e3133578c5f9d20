-- Writes the next piece of a streamed turn's answer, for the holder of the lease. That is also a sign of life; an
-- empty piece is nothing else. A piece that is written again is replaced.
--
-- Returns one of:
--     written     go on
--     stop        written, and the caller wants the turn to stop
--     emptied     the row was lost with a crash of the server, and is there again without pieces: the text
--                 has to be written anew, as piece 1
--     lost        another call has the lease, or nobody
--     erased      the session was erased
create function public.chat_write_stream_v1(
    in_session_id uuid,
    in_owner text,
    in_lease_id uuid,
    in_question_seq bigint,
    in_number integer,
    in_piece text,
    -- The characters of the text up to the end of the piece.
    in_characters_through integer
)
returns text
language plpgsql
security invoker
as $$
declare
    is_stop_requested boolean;
    lease_id uuid;
begin
    update public.chat_streams w
    set pieces[in_number] = in_piece,
        characters_through[in_number] = in_characters_through,
        alive_at = clock_timestamp()
    from public.chat_sessions s
    where w.session_id = in_session_id
      and w.lease_id = in_lease_id
      and s.session_id = in_session_id
      and s.owner is not distinct from in_owner
      and s.lease_id = in_lease_id
      and s.erased_at is null
    returning w.is_stop_requested
    into is_stop_requested;
    if found then
        return case when is_stop_requested then 'stop' else 'written' end;
    end if;

    -- The lock keeps the lease from being taken meanwhile.
    select s.lease_id
    into lease_id
    from public.chat_sessions s
    where s.session_id = in_session_id
      and s.owner is not distinct from in_owner
      and s.erased_at is null
    for no key update;
    if not found then
        return 'erased';
    end if;
    if lease_id is distinct from in_lease_id then
        return 'lost';
    end if;
    insert into public.chat_streams (session_id, lease_id, question_seq)
    values (in_session_id, in_lease_id, in_question_seq)
    on conflict do nothing;
    return 'emptied';
end
$$;

revoke execute on function public.chat_write_stream_v1 from public;
