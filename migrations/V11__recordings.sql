-- The catalogue of recordings that the assistant may recommend, and the words in it.
--
-- What a search needs is worked out by triggers, so it is right whoever writes: the words of a recording in
-- its language, and in how many recordings each word occurs.

create table public.audio_resources (
    audio_id uuid constraint audio_resources_pkey primary key,
    filename text not null,
    -- Where it can be fetched (https://…, s3://…), if that is known.
    location text,
    title text not null,
    summary text,
    transcript text,
    -- As in BCP 47 ("en", "de-AT"); null if unknown.
    language text,
    duration_seconds double precision
        constraint audio_resources_duration_check check (duration_seconds >= 0),
    tags text[] not null default '{}',
    metadata jsonb,
    -- Others are never found, but links to them go on working.
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- Of all that was imported; null if it was changed in another way since.
    digest bytea,
    -- The text search configuration of the language.
    configuration text not null,
    -- The words of the title (A), the tags (B), the summary (C) and the transcript (D).
    vector tsvector not null,
    -- What it means, in the eyes of a model, of length 1; null if unknown, or if the text has changed since.
    embedding real[],
    embedding_model text,
    -- The signs of the embedding's numbers, 1 for positive ones.
    embedding_signs bit varying,
    constraint audio_resources_embedding_check check (
        (embedding is null) = (embedding_model is null)
        and (embedding is null) = (embedding_signs is null)
    )
);
-- A search reads the words of some hundred recordings, so these stay in the row as they are, and transcripts
-- go elsewhere. Numbers do not get smaller by compression.
alter table public.audio_resources
    set (toast_tuple_target = 4080),
    alter column vector set storage main,
    alter column embedding set storage external;
-- Without lists of pending entries, which every search would have to read through.
create index audio_resources_vector on public.audio_resources
    using gin (vector) with (fastupdate = off)
    where is_active;
-- The words of titles and tags alone: a word may be common in what is said, and rare there.
create index audio_resources_headline on public.audio_resources
    using gin (ts_filter(vector, '{a,b}')) with (fastupdate = off)
    where is_active;
create index audio_resources_embedding_model on public.audio_resources (embedding_model)
    where is_active;

-- How many active recordings of a configuration have a word, and how many have it in title or tags. The
-- empty word stands for all of them.
create table public.audio_words (
    configuration text not null,
    -- In the order of its bytes, so that words with the same beginning are found together.
    word text collate "C" not null,
    recordings bigint not null,
    headlines bigint not null,
    constraint audio_words_pkey primary key (word, configuration)
)
-- Room for counting without touching the index.
with (fillfactor = 70);

-- The text search configuration of a language, `simple` if there is none.
create function public.audio_configuration_v1(in_language text)
returns text
language sql
stable
parallel safe
as $$
    select coalesce(
        (
            select c.cfgname::text
            from (values
                ('ar', 'arabic'), ('hy', 'armenian'), ('eu', 'basque'), ('ca', 'catalan'), ('da', 'danish'),
                ('nl', 'dutch'), ('en', 'english'), ('fi', 'finnish'), ('fr', 'french'), ('de', 'german'),
                ('el', 'greek'), ('hi', 'hindi'), ('hu', 'hungarian'), ('id', 'indonesian'), ('ga', 'irish'),
                ('it', 'italian'), ('lt', 'lithuanian'), ('ne', 'nepali'), ('nb', 'norwegian'),
                ('nn', 'norwegian'), ('no', 'norwegian'), ('pt', 'portuguese'), ('ro', 'romanian'),
                ('ru', 'russian'), ('sr', 'serbian'), ('es', 'spanish'), ('sv', 'swedish'), ('ta', 'tamil'),
                ('tr', 'turkish'), ('yi', 'yiddish')
            ) known (code, name)
            join pg_catalog.pg_ts_config c
                on c.cfgname = known.name
                and c.cfgnamespace = 'pg_catalog'::regnamespace
            where known.code = lower(split_part(replace(in_language, '_', '-'), '-', 1))
        ),
        'simple'
    )
$$;

-- A text as stemmers expect it: words with spaces between them, in lower case, without punctuation, and every
-- character of scripts that do not separate words (Chinese, Japanese, Thai) as a word of its own. Unlike in
-- chat_search_text_v1 accents stay: stop words have them ("für"), and endings (Spanish "-ción"). They go when
-- the stem has been found, in audio_vector_v1. Of contractions what they
-- are about is left ("she's"), and nothing of verbs with a negation ("won't").
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
        create function public.audio_text_v1(in_text text)
        returns text
        language sql
        immutable
        parallel safe
        as $$
            select regexp_replace(
                regexp_replace(
                    case
                        when octet_length(in_text) = length(in_text) then lower(in_text)
                        else regexp_replace(
                            regexp_replace(
                                replace(normalize(lower(in_text#everywhere), NFKC), '’', ''''),
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
                    '[[:alpha:]]+n''t(?![[:alnum:]])|''(?:ll|re|ve|[dms])(?![[:alnum:]])', ' ', 'g'
                ),
                '[\u0001-/:-@\[-`{-\u007F]+', ' ', 'g'
            )
        $$
    $definition$, '#everywhere', everywhere);
end
$migration$;

-- The words of a text from audio_text_v1. Their stems lose accents, which people leave out.
create function public.audio_vector_v1(in_configuration text, in_text text)
returns tsvector
language sql
stable
parallel safe
as $$
    select case
        when octet_length(in_text) = length(in_text) then made.vector
        else regexp_replace(normalize(made.vector::text, NFD), '[\u0300-\u036F]', '', 'g')::tsvector
    end
    from (
        select to_tsvector(('pg_catalog.' || quote_ident(in_configuration))::regconfig, in_text) as vector
        -- Made once.
        offset 0
    ) made
$$;

-- The words of a recording. A tsvector holds a megabyte: that much text fits, whatever it says.
create function public.audio_recording_vector_v1(
    in_configuration text,
    in_title text,
    in_tags text[],
    in_summary text,
    in_transcript text
)
returns tsvector
language sql
stable
parallel safe
as $$
    select
        setweight(public.audio_vector_v1(in_configuration, t.title), 'A')
        || setweight(public.audio_vector_v1(in_configuration, t.tags), 'B')
        || setweight(public.audio_vector_v1(in_configuration, t.summary), 'C')
        || setweight(public.audio_vector_v1(in_configuration, t.transcript), 'D')
    from (
        -- Cut twice, because a character may become several.
        select
            left(public.audio_text_v1(left(in_title, 10000)), 10000) as title,
            left(public.audio_text_v1(left(array_to_string(in_tags, ' '), 10000)), 10000) as tags,
            left(public.audio_text_v1(left(coalesce(in_summary, ''), 10000)), 10000) as summary,
            left(public.audio_text_v1(left(coalesce(in_transcript, ''), 60000)), 60000) as transcript
        offset 0
    ) t
$$;

-- Numbers divided by their length, so that the cosine of two is the sum of their products; null if all are zero.
create function public.audio_normal_v1(in_numbers real[])
returns real[]
language sql
immutable
parallel safe
as $$
    select array_agg((n.number / l.length)::real order by n.place)
    from unnest(in_numbers) with ordinality n (number, place)
    cross join (
        select nullif(sqrt(sum(u.number::double precision ^ 2)), 0) as length
        from unnest(in_numbers) u (number)
    ) l
    where l.length is not null
$$;

-- The signs of numbers, 1 for positive ones.
create function public.audio_signs_v1(in_numbers real[])
returns bit varying
language sql
immutable
parallel safe
as $$
    select string_agg(case when n.number > 0 then '1' else '0' end, '' order by n.place)::varbit
    from unnest(in_numbers) with ordinality n (number, place)
$$;

create function public.audio_derive_v1()
returns trigger
language plpgsql
security invoker
as $$
declare
    is_new constant boolean := tg_op = 'INSERT';
    has_text_changed constant boolean := is_new or (
        (new.title, new.tags, new.summary, new.transcript, new.language)
        is distinct from (old.title, old.tags, old.summary, old.transcript, old.language)
    );
begin
    if has_text_changed then
        new.configuration := public.audio_configuration_v1(new.language);
        new.vector := public.audio_recording_vector_v1(
            new.configuration, new.title, new.tags, new.summary, new.transcript
        );
        if not is_new and new.embedding is not distinct from old.embedding then
            new.embedding := null;
            new.embedding_model := null;
        end if;
    else
        new.configuration := old.configuration;
        new.vector := old.vector;
    end if;
    if is_new or new.embedding is distinct from old.embedding then
        new.embedding := public.audio_normal_v1(new.embedding);
        new.embedding_signs := public.audio_signs_v1(new.embedding);
        if new.embedding is null then
            new.embedding_model := null;
        end if;
    end if;
    if not is_new and (
        has_text_changed
        or (new.filename, new.location, new.duration_seconds, new.metadata, new.is_active)
        is distinct from (old.filename, old.location, old.duration_seconds, old.metadata, old.is_active)
    ) then
        new.updated_at := now();
        if new.digest is not distinct from old.digest then
            new.digest := null;
        end if;
    end if;
    return new;
end
$$;

create trigger audio_resources_derive
before insert or update on public.audio_resources
for each row execute function public.audio_derive_v1();

-- Counts the words of what a statement changed. In the order of the words, so that two of them at once wait
-- for each other instead of locking each other out.
create function public.audio_count_v1()
returns trigger
language plpgsql
security invoker
as $$
declare
    -- There is no transition table of the other kind in an insert or a delete.
    before constant text := $sql$
        select r.configuration, r.vector, -1 as change from before r where r.is_active
    $sql$;
    after constant text := $sql$
        select r.configuration, r.vector, 1 as change from after r where r.is_active
    $sql$;
begin
    execute format(
        $sql$
            insert into public.audio_words as w (configuration, word, recordings, headlines)
            select configuration, word, sum(change), sum(change * is_headline::integer)
            from (
                select r.configuration, l.lexeme as word, l.weights && '{A,B}' as is_headline, r.change
                from (%s) r
                cross join unnest(r.vector) l
                union all
                select r.configuration, '', true, r.change
                from (%s) r
            ) words
            group by configuration, word
            having sum(change) <> 0
                or sum(change * is_headline::integer) <> 0
            order by word, configuration
            on conflict (word, configuration) do update
            set recordings = w.recordings + excluded.recordings,
                headlines = w.headlines + excluded.headlines
        $sql$,
        case tg_op when 'INSERT' then after when 'DELETE' then before else before || ' union all ' || after end,
        case tg_op when 'INSERT' then after when 'DELETE' then before else before || ' union all ' || after end
    );
    return null;
end
$$;

create trigger audio_resources_count_inserted
after insert on public.audio_resources
referencing new table as after
for each statement execute function public.audio_count_v1();

create trigger audio_resources_count_updated
after update on public.audio_resources
referencing old table as before new table as after
for each statement execute function public.audio_count_v1();

create trigger audio_resources_count_deleted
after delete on public.audio_resources
referencing old table as before
for each statement execute function public.audio_count_v1();

revoke execute on function
    public.audio_configuration_v1, public.audio_text_v1, public.audio_vector_v1,
    public.audio_recording_vector_v1, public.audio_normal_v1, public.audio_signs_v1, public.audio_derive_v1, public.audio_count_v1
from public;
