-- Search: an index of what was said, in a table of its own that `maintain` fills, so that a turn costs
-- nothing more for it. What is not in it yet is searched without an index, so nothing is missed.
--
-- The messages of an owner are divided by time into parts of about a thousand, and every word in the index
-- begins with the number of its part, as in `3f:sleep`. So a search touches the words of its owner alone,
-- however common they are in the whole table, also where a word is only the beginning of one (a prefix is
-- looked up by reading all words that begin with it). It goes back from part to part until its page is
-- full, so a word that an owner has used a million times costs one part.

-- One row for each message in the index. No foreign key: it would lock the session's row against turns.
create table public.chat_search (
    session_id uuid not null,
    seq bigint not null,
    timestamp timestamptz not null,
    role text not null,
    part integer not null,
    -- The words of the message, and the part itself as an empty word, all with the number of the part.
    vector tsvector not null,
    constraint chat_search_pkey primary key (session_id, seq)
);
-- Without a list of pending entries, which every search would have to read through; only `maintain` waits
-- for the index.
create index chat_search_vector on public.chat_search using gin (vector) with (fastupdate = off);

-- The parts: each holds the messages of its owner from its beginning to that of the next part.
create table public.chat_search_parts (
    -- Empty for sessions without one.
    owner text not null,
    starts_at timestamptz not null,
    part integer not null,
    -- How many messages it got, those that were deleted since included.
    messages bigint not null default 0,
    -- The time of the last of them.
    ends_at timestamptz,
    constraint chat_search_parts_pkey primary key (owner, starts_at)
);

-- How far the index goes: one row, which is also the lock of whoever fills it.
create table public.chat_search_state (
    only_row boolean not null default true
        constraint chat_search_state_pkey primary key
        constraint chat_search_state_check check (only_row),
    -- The text search configuration that the words were made with.
    language text not null default 'pg_catalog.simple',
    -- All messages up to this id are in the index.
    filled_id bigint not null default 0,
    -- All others are in sessions that were last used in this hour (since 1970) or later.
    unfilled_hour integer not null default -2147483648,
    -- Parts with smaller numbers were made with another configuration and count for nothing.
    first_part integer not null default 1,
    next_part integer not null default 1
);
insert into public.chat_search_state default values;

-- The words of a text, in the form in which they are compared, with spaces between them: without accents
-- and punctuation, and every character of scripts that do not separate words (Chinese, Japanese, Thai) as
-- a word of its own, so that a word in them is found as a phrase. Text beyond ASCII is also in lower case,
-- because the lower case of a database's locale may be that of ASCII only.
--
-- The function `search` brings a query into the same form (functions/search/src/words.rs). A message is
-- searched up to its 100,000th character, which a tsvector can hold whatever it says.
do $migration$
declare
    -- In a locale that knows all letters, if this server has one.
    everywhere constant text := (
        select coalesce(max(' collate "und-x-icu"'), '')
        from pg_collation
        where collname = 'und-x-icu'
          and collnamespace = 'pg_catalog'::regnamespace
    );
begin
    execute replace($definition$
        create function public.chat_search_text_v1(in_text text)
        returns text
        language sql
        immutable
        parallel safe
        as $$
            select regexp_replace(
                case
                    when octet_length(in_text) = length(in_text) then in_text
                    else regexp_replace(
                        regexp_replace(
                            replace(replace(replace(translate(
                                normalize(
                                    regexp_replace(
                                        normalize(lower(in_text#everywhere), NFKD),
                                        '[\u0300-\u036F]', '', 'g'
                                    ),
                                    NFC
                                ),
                                'øłđħıŧς', 'oldhitσ'
                            ), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'),
                            '[\u0080-\u00A9\u00AB-\u00B4\u00B6-\u00B9\u00BB-\u00BF\u00D7\u00F7'
                                '\u2000-\u206F\u20A0-\u20CF\u2190-\u2BFF\u2E00-\u2E7F\u3000-\u3004'
                                '\u3008-\u3020\u3030\u303D-\u303F\u30FB\uD7FC-\uF8FF\uFD3E\uFD3F'
                                '\uFE00-\uFE1F\uFE30-\uFE6F\uFEFF-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40'
                                '\uFF5B-\uFF65\uFFE0-\uFFFF\U0001F000-\U0001FBFF\U000E0000-\U000E0FFF]',
                            ' ', 'g'
                        ),
                        '([\u0E01-\u0E30\u0E32\u0E33\u0E40-\u0E46\u3005-\u3007\u3021-\u3029\u3041-\u3096'
                            '\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF'
                            '\U00020000-\U0003FFFF][\u0E31\u0E34-\u0E3A\u0E47-\u0E4E\u3099\u309A]*)',
                        ' \1 ', 'g'
                    )
                end,
                -- translate() would take four times as long for so many characters.
                '[\u0001-/:-@\[-`{-\u007F]+', ' ', 'g'
            )
        $$
    $definition$, '#everywhere', everywhere);
end
$migration$;

-- Searches the messages of an owner, or of one of the owner's sessions: a page of those that match, newest
-- first; if there are none, one row of nulls; no row if there is no such session.
--
-- Whatever is ordered is ordered by (timestamp, session_id, seq), which never change, so no page skips or
-- repeats a message, whether the index holds it by then or not.
create function public.chat_search_v1(
    in_owner text,
    -- Null for all sessions.
    in_session_id uuid,
    -- In the language of websearch_to_tsquery, its words as chat_search_text_v1 makes them.
    in_query text,
    -- Its last word, if that may be the beginning of one.
    in_beginning text,
    in_role text,
    -- From this time on, and before that one.
    in_from timestamptz,
    in_to timestamptz,
    -- The position that the page follows.
    in_after_timestamp timestamptz,
    in_after_session_id uuid,
    in_after_seq bigint,
    in_limit integer
)
returns table (
    session_id uuid,
    seq bigint,
    title text,
    message_id uuid,
    role text,
    "timestamp" timestamptz,
    content text,
    -- The words in the content that match, if the configuration makes others of them than they are.
    words text[]
)
language plpgsql
stable
security invoker
as $$
#variable_conflict use_column
declare
    state record;
    configuration regconfig;
    query tsquery;
    -- The query with @ before each word, to be replaced by a part.
    pattern text;
    lexemes text[];
    -- What a message has to contain, all of them or any; null if the configuration changes words.
    needles text[];
    are_alternatives boolean;
    words_of_message text;
    unfilled timestamptz[] := '{}';
    found_timestamps timestamptz[] := '{}';
    found_sessions uuid[] := '{}';
    found_seqs bigint[] := '{}';
    indexed integer := 0;
    message record;
    this_part record;
    part_ends_at timestamptz := 'infinity';
begin
    if in_session_id is not null then
        perform
        from public.chat_sessions s
        where s.session_id = in_session_id
          and s.owner is not distinct from in_owner
          and s.erased_at is null;
        if not found then
            return;
        end if;
    end if;

    select * into state from public.chat_search_state;
    configuration := state.language::regconfig;
    pattern := websearch_to_tsquery(configuration, in_query)::text;
    if numnode(plainto_tsquery(configuration, in_beginning)) > 0 then
        pattern := regexp_replace(pattern, '''( *\)*)$', ''':*\1');
    end if;
    query := pattern::tsquery;
    -- Nothing is left if all words are stop words, or all but those that are excluded.
    if numnode(query) = 0 or ''::tsvector @@ query then
        return next;
        return;
    end if;
    pattern := regexp_replace(pattern, '''([^'']+)''', '''@\1''', 'g');
    lexemes := array(
        select l[1]
        from regexp_matches(
            -- Without what is excluded, which is a word or a phrase.
            regexp_replace(query::text, '!(''[^'']*''|\([^)]*\))', '', 'g'), '''([^'']+)''', 'g'
        ) l
    );
    if state.language = 'pg_catalog.simple' then
        needles := array(select '%' || l || '%' from unnest(lexemes) l);
        are_alternatives := position('|' in query::text) > 0;
    end if;

    -- What is not in the index yet: the end of each session that was used since.
    for message in
        select m.timestamp, m.session_id, m.seq, m.content
        from (
            select s.session_id
            from public.chat_sessions s
            where s.session_id = in_session_id
            union all
            select s.session_id
            from public.chat_sessions s
            where in_session_id is null and s.owner = in_owner
              and not s.is_archived and s.erased_at is null
              and s.last_used_hour >= state.unfilled_hour
            union all
            select s.session_id
            from public.chat_sessions s
            where in_session_id is null and s.owner = in_owner
              and s.is_archived and s.erased_at is null
              and s.last_used_hour >= state.unfilled_hour
            union all
            select s.session_id
            from public.chat_sessions s
            where in_session_id is null and in_owner is null and s.owner is null
              and not s.is_archived and s.erased_at is null
              and s.last_used_hour >= state.unfilled_hour
            union all
            select s.session_id
            from public.chat_sessions s
            where in_session_id is null and in_owner is null and s.owner is null
              and s.is_archived and s.erased_at is null
              and s.last_used_hour >= state.unfilled_hour
        ) used
        cross join lateral (
            select coalesce(max(x.seq), 0) as seq
            from public.chat_search x
            where x.session_id = used.session_id
              and x.part >= state.first_part
        ) filled
        join public.chat_messages m
            on m.session_id = used.session_id
            and m.seq > filled.seq
        where (in_role is null or m.role = in_role)
          and (in_from is null or m.timestamp >= in_from)
          and (in_to is null or m.timestamp < in_to)
          and (in_after_seq is null or (m.timestamp, m.session_id, m.seq)
              < (in_after_timestamp, in_after_session_id, in_after_seq))
        order by m.timestamp desc, m.session_id desc, m.seq desc
    loop
        -- A first look, which is ten times as fast as a vector; ASCII is as it is but for its case.
        if needles is not null then
            if octet_length(message.content) = length(message.content) then
                words_of_message := lower(message.content);
            else
                words_of_message := lower(public.chat_search_text_v1(left(message.content, 100000)));
            end if;
            continue when are_alternatives and not words_of_message like any (needles)
                or not are_alternatives and not words_of_message like all (needles);
        end if;
        continue when not to_tsvector(
            configuration, public.chat_search_text_v1(left(message.content, 100000))
        ) @@ query;
        unfilled := unfilled || message.timestamp;
        found_timestamps := found_timestamps || message.timestamp;
        found_sessions := found_sessions || message.session_id;
        found_seqs := found_seqs || message.seq;
        exit when cardinality(unfilled) = in_limit;
    end loop;

    if in_session_id is not null then
        -- A session is read from its end: it is short beside all that its owner has said.
        for message in
            select x.timestamp, x.session_id, x.seq
            from public.chat_search x
            where x.session_id = in_session_id
              and x.part >= state.first_part
              and (in_role is null or x.role = in_role)
              and (in_from is null or x.timestamp >= in_from)
              and (in_to is null or x.timestamp < in_to)
              and (in_after_seq is null or (x.timestamp, x.session_id, x.seq)
                  < (in_after_timestamp, in_after_session_id, in_after_seq))
              and x.vector @@ replace(pattern, '@', to_hex(x.part) || ':')::tsquery
            order by x.seq desc
            limit in_limit
        loop
            found_timestamps := found_timestamps || message.timestamp;
            found_sessions := found_sessions || message.session_id;
            found_seqs := found_seqs || message.seq;
        end loop;
    else
        <<parts>>
        for this_part in
            select p.part, p.starts_at
            from public.chat_search_parts p
            where p.owner = coalesce(in_owner, '')
              and p.starts_at <= least(in_to, in_after_timestamp, 'infinity')
            order by p.starts_at desc
        loop
            -- Whatever follows is older than this part.
            exit when part_ends_at <= in_from
                or indexed + (select count(*) from unnest(unfilled) u where u >= part_ends_at) >= in_limit;
            for message in
                select x.timestamp, x.session_id, x.seq
                from public.chat_search x
                where x.vector @@ replace(
                        '''@'' & ( ' || pattern || ' )', '@', to_hex(this_part.part) || ':'
                    )::tsquery
                  and (in_role is null or x.role = in_role)
                  and (in_from is null or x.timestamp >= in_from)
                  and (in_to is null or x.timestamp < in_to)
                  and (in_after_seq is null or (x.timestamp, x.session_id, x.seq)
                      < (in_after_timestamp, in_after_session_id, in_after_seq))
                order by x.timestamp desc, x.session_id desc, x.seq desc
            loop
                exit parts when indexed = in_limit;
                perform
                from public.chat_sessions s
                where s.session_id = message.session_id
                  and s.owner is not distinct from in_owner
                  and s.erased_at is null;
                continue when not found;
                indexed := indexed + 1;
                found_timestamps := found_timestamps || message.timestamp;
                found_sessions := found_sessions || message.session_id;
                found_seqs := found_seqs || message.seq;
            end loop;
            part_ends_at := this_part.starts_at;
        end loop;
    end if;

    return query
    select
        m.session_id, m.seq, coalesce(s.own_title, s.title), m.message_id, m.role, m.timestamp,
        left(m.content, 100000),
        case when needles is null then array(
            select distinct w.word
            from regexp_split_to_table(
                lower(public.chat_search_text_v1(left(m.content, 100000))), ' +'
            ) w (word)
            cross join unnest(lexemes) l (lexeme)
            -- A configuration leaves the beginning of a word as it is, so few words are looked up.
            where left(w.word, 1) = left(l.lexeme, 1)
              and exists (
                  select
                  from unnest(tsvector_to_array(to_tsvector(configuration, w.word))) made (lexeme)
                  where made.lexeme = l.lexeme
                     or pattern ~ ''':\*[ )]*$' and l.lexeme = lexemes[cardinality(lexemes)]
                        and starts_with(made.lexeme, l.lexeme)
              )
        ) end
    from (
        select f.session_id, f.seq
        from unnest(found_timestamps, found_sessions, found_seqs) f (timestamp, session_id, seq)
        order by f.timestamp desc, f.session_id desc, f.seq desc
        limit in_limit
    ) f
    join public.chat_messages m
        on m.session_id = f.session_id
        and m.seq = f.seq
    join public.chat_sessions s
        on s.session_id = m.session_id
    order by m.timestamp desc, m.session_id desc, m.seq desc;
    if not found then
        return next;
    end if;
end
$$;

-- The id up to which all messages are there: a transaction takes the id of its message before it commits,
-- so a smaller one may still come after a greater one. Those in progress are waited for, this many seconds
-- at most; otherwise there is no row. With the hour that `chat_search_state.unfilled_hour` gets once the
-- index goes that far.
--
-- A transaction locks the table before it takes an id and until it has ended, so those whose ids may be
-- missing are among the ones that hold the lock after the greatest id was read. This is a call of its own,
-- so that the next one sees what they have committed.
create function public.chat_search_horizon_v1(in_seconds double precision)
returns table (id bigint, hour integer)
language plpgsql
security invoker
as $$
#variable_conflict use_column
declare
    -- An hour less, in case that the clock is set back.
    this_hour constant integer := floor(extract(epoch from clock_timestamp()) / 3600) - 1;
    until constant timestamptz := clock_timestamp() + make_interval(secs => in_seconds);
    this_database constant oid := (
        select d.oid from pg_catalog.pg_database d where d.datname = current_database()
    );
    greatest_id bigint;
    writers text[];
begin
    select coalesce(max(m.id), 0) into greatest_id from public.chat_messages m;
    writers := array(
        select l.virtualtransaction
        from pg_catalog.pg_locks l
        where l.relation = 'public.chat_messages'::regclass
          and l.database = this_database
          and l.mode = 'RowExclusiveLock'
          and l.pid is distinct from pg_backend_pid()
    );
    while exists (
        select
        from pg_catalog.pg_locks l
        where l.relation = 'public.chat_messages'::regclass
          and l.database = this_database
          and l.mode = 'RowExclusiveLock'
          -- One that is prepared for a later commit has no process and another name than before.
          and (l.virtualtransaction = any (writers) or l.pid is null)
    ) loop
        if clock_timestamp() > until then
            return;
        end if;
        perform pg_sleep(0.01);
    end loop;
    return query select greatest_id, this_hour;
end
$$;

-- Takes up to `in_messages` more messages into the index, none beyond the id `in_horizon`, and returns how
-- many. All of a call is kept or nothing, so it may be interrupted anywhere and repeated. Null if there is
-- no such configuration. If it is another one than before, the index begins anew, and until it is complete
-- the messages that are missing are searched without it.
create function public.chat_search_fill_v1(
    in_language text,
    in_horizon bigint,
    in_hour integer,
    in_messages integer
)
returns integer
language plpgsql
security invoker
as $$
declare
    -- The size of a part. A search for a common word reads all messages of one; a search for a word that
    -- does not occur looks into every part of the owner.
    part_messages constant integer := 1000;
    state record;
    configuration regconfig;
    new_language text;
    last_id bigint;
    messages integer;
    touched integer[];
    full_part record;
    first_at timestamptz;
    middle_at timestamptz;
    moved bigint;
begin
    select c.oid::regconfig, format('%I.%I', n.nspname, c.cfgname)
    into configuration, new_language
    from pg_catalog.pg_ts_config c
    join pg_catalog.pg_namespace n on n.oid = c.cfgnamespace
    where c.cfgname = in_language
      and n.nspname in ('pg_catalog', 'public')
    order by n.nspname desc
    limit 1;
    if not found then
        return null;
    end if;

    select * into state from public.chat_search_state for update;
    if state.language <> new_language then
        delete from public.chat_search_parts;
        state.filled_id := 0;
        update public.chat_search_state
        set language = new_language,
            filled_id = 0,
            unfilled_hour = -2147483648,
            first_part = next_part;
    end if;

    select max(m.id), count(*)
    into last_id, messages
    from (
        select id
        from public.chat_messages
        where id > state.filled_id
          and id <= in_horizon
        order by id
        limit in_messages
    ) m;

    -- Owners without a part get their first one.
    with
    added as (
        insert into public.chat_search_parts (owner, starts_at, part)
        select o.owner, '-infinity', state.next_part + row_number() over () - 1
        from (
            select distinct coalesce(s.owner, '') as owner
            from public.chat_messages m
            join public.chat_sessions s using (session_id)
            where m.id > state.filled_id
              and m.id <= last_id
        ) o
        where not exists (select from public.chat_search_parts p where p.owner = o.owner)
        returning part
    )
    select state.next_part + count(*) into state.next_part from added;

    with
    indexed as (
        insert into public.chat_search (session_id, seq, timestamp, role, part, vector)
        select
            m.session_id, m.seq, m.timestamp, m.role, p.part,
            -- In its text form a vector has each word in quotes, after a space but for the first.
            (
                p.prefix || '''' || replace(
                    ' ' || case
                        -- A word has at most 2046 bytes, and gets a prefix.
                        when octet_length(m.content) > 1000 then ts_delete(
                            made.vector,
                            array(select w.lexeme from unnest(made.vector) w where octet_length(w.lexeme) > 2000)
                        )
                        else made.vector
                    end::text,
                    ' ''', ' ' || p.prefix
                )
            )::tsvector
        from public.chat_messages m
        join public.chat_sessions s using (session_id)
        cross join lateral (
            select p.part, '''' || to_hex(p.part) || ':' as prefix
            from public.chat_search_parts p
            where p.owner = coalesce(s.owner, '')
              and p.starts_at <= m.timestamp
            order by p.starts_at desc
            limit 1
        ) p
        cross join lateral (
            select to_tsvector(configuration, public.chat_search_text_v1(left(m.content, 100000))) as vector
            -- Made once, not wherever it is named.
            offset 0
        ) made
        where m.id > state.filled_id
          and m.id <= last_id
          and s.erased_at is null
        on conflict (session_id, seq) do update
        set part = excluded.part,
            vector = excluded.vector
        returning part, timestamp
    ),
    counted as (
        update public.chat_search_parts p
        set messages = p.messages + i.messages,
            ends_at = greatest(p.ends_at, i.ends_at)
        from (
            select i.part, count(*) as messages, max(i.timestamp) as ends_at
            from indexed i
            group by i.part
        ) i
        where p.part = i.part
        returning p.part
    )
    select array_agg(c.part) into touched from counted c;

    for full_part in
        select
            p.owner, p.starts_at, p.part, p.messages, p.ends_at,
            not exists (
                select
                from public.chat_search_parts later
                where later.owner = p.owner
                  and later.starts_at > p.starts_at
            ) as is_last
        from public.chat_search_parts p
        where p.part = any (touched)
          and p.messages >= part_messages
    loop
        if full_part.is_last then
            -- What comes next is newer, if time goes on.
            insert into public.chat_search_parts (owner, starts_at, part)
            values (full_part.owner, full_part.ends_at + interval '1 microsecond', state.next_part);
            state.next_part := state.next_part + 1;
        elsif full_part.messages >= 2 * part_messages then
            -- Older messages came later, as copies bring them; the part is divided.
            select min(x.timestamp), percentile_disc(0.5) within group (order by x.timestamp)
            into first_at, middle_at
            from public.chat_search x
            where x.vector @@ format('%L', to_hex(full_part.part) || ':')::tsquery;
            if middle_at = first_at then
                select min(x.timestamp)
                into middle_at
                from public.chat_search x
                where x.vector @@ format('%L', to_hex(full_part.part) || ':')::tsquery
                  and x.timestamp > first_at;
            end if;
            -- All of the same moment stay together.
            continue when middle_at is null;

            insert into public.chat_search_parts (owner, starts_at, part, ends_at)
            values (full_part.owner, middle_at, state.next_part, full_part.ends_at);
            update public.chat_search x
            set part = state.next_part,
                vector = replace(
                    ' ' || x.vector::text,
                    format(' ''%s:', to_hex(full_part.part)),
                    format(' ''%s:', to_hex(state.next_part))
                )::tsvector
            where x.vector @@ format('%L', to_hex(full_part.part) || ':')::tsquery
              and x.timestamp >= middle_at;
            get diagnostics moved = row_count;
            update public.chat_search_parts p
            set messages = case when p.part = full_part.part then p.messages - moved else moved end
            where p.owner = full_part.owner
              and p.part in (full_part.part, state.next_part);
            state.next_part := state.next_part + 1;
        end if;
    end loop;

    update public.chat_search_state s
    set filled_id = greatest(
            s.filled_id, case when messages < in_messages then in_horizon else last_id end
        ),
        unfilled_hour = greatest(s.unfilled_hour, case when messages < in_messages then in_hour end),
        next_part = state.next_part;
    return messages;
end
$$;

revoke execute on function
    public.chat_search_v1, public.chat_search_text_v1,
    public.chat_search_horizon_v1, public.chat_search_fill_v1
from public;
