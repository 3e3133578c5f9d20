-- A page of a session's messages, by ascending `seq`, for a session that exists and is this owner's: at
-- least one row; if the page is empty, one without a message.
--
-- The page holds the messages between `in_after` and `in_before`, both excluded; from the near end, at
-- most `in_limit` of them, and no more than `in_json_bytes` hold, plus one. The near end is the
-- earliest, or the latest if `in_descending`. Null is no bound.
--
-- The running totals tell where the page ends: nothing is measured, and for a session that is no
-- larger than a page nothing is looked up.
create function public.chat_history_v1(
    in_session_id uuid,
    in_owner text,
    in_after bigint,
    in_before bigint,
    in_limit bigint,
    in_descending boolean,
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
stable
security invoker
as $$
declare
    session record;
    first bigint;
    last bigint;
    near bigint;
    far bigint;
    middle bigint;
    total bigint;
    total_near bigint;
begin
    select s.message_count, s.json_bytes
    into session
    from public.chat_sessions s
    where s.session_id = in_session_id
      and s.owner is not distinct from in_owner
      and s.erased_at is null;
    if not found then
        return;
    end if;

    first := greatest(in_after, 0) + 1;
    last := least(in_before - 1, session.message_count);
    if in_descending then
        first := greatest(first, last - in_limit + 1);
    else
        last := least(last, first + in_limit - 1);
    end if;

    if session.json_bytes > in_json_bytes and first < last then
        near := case when in_descending then last else first end;
        far := case when in_descending then first else last end;
        select m.json_bytes_through
        into total_near
        from public.chat_messages m
        where m.session_id = in_session_id
          and m.seq = near;
        -- Halves the distance until `near` is the last that fits and `far` the first that does not.
        middle := far;
        loop
            select m.json_bytes_through
            into total
            from public.chat_messages m
            where m.session_id = in_session_id
              and m.seq = middle;
            if abs(total - total_near) <= in_json_bytes then
                near := middle;
            else
                far := middle;
            end if;
            exit when abs(far - near) <= 1;
            middle := (near + far) / 2;
        end loop;
        if in_descending then
            first := near;
        else
            last := near;
        end if;
    end if;

    return query
    select
        session.message_count, m.seq, m.message_id, m.role, m.content, m.timestamp, m.audio_files,
        m.function_calls, m.metadata, f.rating, f.comment
    from public.chat_messages m
    left join public.chat_feedback f
        on f.session_id = in_session_id
        and f.seq = m.seq
    where m.session_id = in_session_id
      and m.seq between first and last
    order by m.seq;
    if not found then
        message_count := session.message_count;
        return next;
    end if;
end
$$;

revoke execute on function public.chat_history_v1 from public;
