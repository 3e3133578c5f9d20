-- The search in the catalogue of recordings: by the words of a query, and by its meaning where it has an
-- embedding.

-- The schema of an extension, null where this database does not have it.
create function public.audio_extension_v1(in_name text)
returns text
language sql
stable
parallel safe
as $$
    select quote_ident(n.nspname)
    from pg_catalog.pg_extension e
    join pg_catalog.pg_namespace n on n.oid = e.extnamespace
    where e.extname = in_name
$$;

-- Words of the catalogue in the place of one that it does not have: the parts that it is put together from
-- ("Flugangst"); or the most similar one, where pg_trgm is there to tell; or one that begins with it; or one that
-- is its beginning or its end.
create function public.audio_replacements_v1(
    in_configuration text,
    -- As it is written, and as it would be in the index.
    in_typed text,
    in_word text,
    -- The vocabulary; null for that of the catalogue.
    in_vocabulary text[]
)
returns table (
    word text,
    -- Its part of the weight.
    portion double precision,
    -- What finding it counts for.
    factor double precision
)
language plpgsql
stable
security invoker
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    compound_factor constant double precision := 0.9;
    beginning_factor constant double precision := 0.6;
    similar_factor constant double precision := 0.7;
    -- The least length of a part, and of one beside which the rest means nothing.
    least_part constant integer := 4;
    least_only_part constant integer := 5;
    trigrams constant text := public.audio_extension_v1('pg_trgm');
    parts text[];
    part_words text[];
    are_first boolean[];
    returned bigint;
begin
    if length(in_typed) >= 2 * least_part then
        -- Parts as they are written, because the stem of a compound is not put together from theirs.
        select array_agg(p.part), array_agg(p.word), array_agg(p.is_first)
        into parts, part_words, are_first
        from (
            select p.part, l.lexeme as word, p.is_first
            from generate_series(least_part, length(in_typed) - least_part) n
            cross join lateral (values (left(in_typed, n), true), (right(in_typed, n), false)) p (part, is_first)
            cross join unnest(tsvector_to_array(public.audio_vector_v1(in_configuration, p.part))) l (lexeme)
        ) p
        where p.word = any (in_vocabulary)
           or in_vocabulary is null
            and exists (
                select
                from public.audio_words w
                where w.word = p.word
                  and w.configuration = in_configuration
                  and w.recordings > 0
            );

        return query
        select p.word, 0.5::double precision, compound_factor
        from (
            select f.word as first_word, s.word as second_word
            from unnest(parts, part_words, are_first) f (part, word, is_first)
            join unnest(parts, part_words, are_first) s (part, word, is_first)
                on not s.is_first
                and length(f.part) + length(s.part) <= length(in_typed)
                -- What German puts between two parts.
                and substr(
                    in_typed, length(f.part) + 1, length(in_typed) - length(f.part) - length(s.part)
                ) in ('', 'e', 'en', 'es', 'n', 's')
            where f.is_first
            order by length(f.part) desc, length(s.part) desc
            limit 1
        ) c
        cross join lateral (values (c.first_word), (c.second_word)) p (word);
        if found then
            return;
        end if;
    end if;

    if trigrams is not null then
        return query execute format(
            $sql$
                select w.word, 1::double precision, $4
                from %2$s
                where %3$s w.word operator(%1$s.%%) $2
                  -- People hardly ever get the first letter wrong.
                  and left(w.word, 1) = left($2, 1)
                  and %1$s.similarity(w.word, $2) >= 0.4
                order by %1$s.similarity(w.word, $2) desc, w.word
                limit 1
            $sql$,
            trigrams,
            case when in_vocabulary is null then 'public.audio_words w' else 'unnest($3) w (word)' end,
            case when in_vocabulary is null then 'w.configuration = $1 and w.recordings > 0 and' else '' end
        )
        using in_configuration, in_word, in_vocabulary, similar_factor;
        get diagnostics returned = row_count;
        if returned > 0 then
            return;
        end if;
    end if;

    return query
    select w.word, 1::double precision, beginning_factor
    from (
        select w.word, w.recordings
        from public.audio_words w
        where w.word > in_word
          and w.word < in_word || U&'\+10FFFF'
          and w.configuration = in_configuration
          and w.recordings > 0
          and in_vocabulary is null
        union all
        select v.word, 1
        from unnest(in_vocabulary) v (word)
        where starts_with(v.word, in_word)
    ) w
    order by w.recordings desc, w.word
    limit 1;
    if found then
        return;
    end if;

    return query
    select p.word, 1::double precision, compound_factor / 2
    from unnest(parts, part_words, are_first) p (part, word, is_first)
    where length(p.part) >= least_only_part
    order by p.is_first desc, length(p.part) desc
    limit 1;
end
$$;

-- What a word weighs: the more the fewer recordings have it. One that none has may be the one that matters, or
-- of no matter at all, so it weighs as much as one that one in twenty has.
create function public.audio_weight_v1(in_recordings bigint, in_total bigint)
returns double precision
language sql
immutable
parallel safe
as $$
    select ln(1 + (in_total - r.recordings + 0.5) / (r.recordings + 0.5))
    from (
        select case
            when in_recordings > 0 then in_recordings
            else greatest(0.5, 0.05 * in_total)
        end::double precision as recordings
    ) r
$$;

-- The words of a text in each configuration of the catalogue, with how much each weighs: the more the fewer
-- recordings have it.
create function public.audio_terms_v1(
    in_text text,
    -- Whether a word that no recording has may be replaced.
    in_replaces boolean,
    -- Of recordings that are searched instead of the catalogue; or null.
    in_given_configurations text[],
    in_given_vectors tsvector[]
)
returns table (
    configuration text,
    -- How many recordings there are.
    total bigint,
    -- As it stands in the text.
    typed text,
    -- As it is in the index.
    word text,
    recordings bigint,
    headlines bigint,
    weight double precision,
    -- What finding it counts for: less than 1 if it is in the place of another one.
    factor double precision
)
language plpgsql
stable
security invoker
set plan_cache_mode = force_generic_plan
set jit = off
as $$
#variable_conflict use_column
declare
    -- How many words are replaced at most, which takes some milliseconds each, and how long they are at least.
    replacements constant integer := case when in_replaces then 8 else 0 end;
    least_replaced constant integer := 5;
    replaced integer := 0;
    vocabulary text[];
    term record;
begin
    for term in
        with
        given as (
            select g.configuration, g.vector
            from unnest(in_given_configurations, in_given_vectors) g (configuration, vector)
        ),
        configurations as (
            select w.configuration, w.recordings as total
            from public.audio_words w
            where w.word = ''
              and w.recordings > 0
              and in_given_vectors is null
            union all
            select g.configuration, count(*)
            from given g
            group by g.configuration
        ),
        typed as (
            select t.word, min(t.place) as place
            from regexp_split_to_table(public.audio_text_v1(left(in_text, 2000)), ' +')
                with ordinality t (word, place)
            where t.word <> ''
            group by t.word
        ),
        words as (
            select c.configuration, c.total, l.lexeme as word, min(t.place) as place
            from configurations c
            cross join typed t
            cross join unnest(tsvector_to_array(public.audio_vector_v1(c.configuration, t.word))) l (lexeme)
            group by c.configuration, c.total, l.lexeme
        ),
        given_words as (
            select
                g.configuration, l.lexeme as word, count(*) as recordings,
                count(*) filter (where l.weights && '{A,B}') as headlines
            from given g
            cross join unnest(g.vector) l
            group by g.configuration, l.lexeme
        )
        select
            w.configuration, w.total, t.word as typed, w.word,
            coalesce(known.recordings, given_words.recordings, 0) as recordings,
            coalesce(known.headlines, given_words.headlines, 0) as headlines,
            -- A word of another language of the catalogue is not misspelt.
            max(coalesce(known.recordings, given_words.recordings, 0)) over (partition by t.word) = 0
                as is_unknown
        from words w
        join typed t on t.place = w.place
        left join public.audio_words known
            on known.configuration = w.configuration
            and known.word = w.word
            and in_given_vectors is null
        left join given_words
            on given_words.configuration = w.configuration
            and given_words.word = w.word
        order by w.configuration, w.place
    loop
        configuration := term.configuration;
        total := term.total;
        typed := term.typed;
        word := term.word;
        recordings := term.recordings;
        headlines := term.headlines;
        weight := public.audio_weight_v1(recordings, total);
        factor := 1;
        if not term.is_unknown or replaced >= replacements or length(term.word) < least_replaced then
            return next;
            continue;
        end if;

        replaced := replaced + 1;
        vocabulary := case when in_given_vectors is not null then array(
            select distinct l.lexeme
            from unnest(in_given_configurations, in_given_vectors) g (configuration, vector)
            cross join unnest(g.vector) l
            where g.configuration = term.configuration
        ) end;
        for term in
            select r.word, r.portion, r.factor, r.portion * weight as weight
            from public.audio_replacements_v1(term.configuration, term.typed, term.word, vocabulary) r
        loop
            word := term.word;
            factor := term.factor;
            weight := term.weight;
            if in_given_vectors is null then
                select w.recordings, w.headlines
                into recordings, headlines
                from public.audio_words w
                where w.configuration = audio_terms_v1.configuration
                  and w.word = term.word;
            else
                select count(*), count(*) filter (where l.weights && '{A,B}')
                into recordings, headlines
                from unnest(in_given_configurations, in_given_vectors) g (configuration, vector)
                cross join unnest(g.vector) l
                where g.configuration = audio_terms_v1.configuration
                  and l.lexeme = term.word;
            end if;
            return next;
        end loop;
        if not found then
            return next;
        end if;
    end loop;
end
$$;

-- A query for a word as it is in the index.
create function public.audio_word_query_v1(in_word text)
returns text
language sql
immutable
parallel safe
as $$
    select '''' || replace(replace(in_word, '\', '\\'), '''', '''''') || ''''
$$;

-- All combinations of so many of some queries.
create function public.audio_combinations_v1(in_queries text[], in_least integer)
returns tsquery[]
language sql
immutable
parallel safe
as $$
    select array_agg(c.query)
    from (
        -- Each bit stands for a query.
        select string_agg(q.query, ' & ')::tsquery as query
        from generate_series(1, (1 << cardinality(in_queries)) - 1) bits
        cross join unnest(in_queries) with ordinality q (query, place)
        where bits & (1 << (q.place - 1)::integer) <> 0
        group by bits
        having count(*) >= in_least
    ) c
$$;

-- Recordings of a configuration that may fit, a few hundred of them, however common the words are: all that
-- have one of the rarest; and some of those that have several of the others, or some in title or tags.
create function public.audio_candidates_v1(
    in_configuration text,
    in_total bigint,
    -- Words that occur, rarest first, with how many recordings have them at all, and in title or tags.
    in_words text[],
    in_recordings bigint[],
    in_headlines bigint[]
)
returns table (audio_id uuid)
language plpgsql
stable
security invoker
-- Plans are made once, for any word: each part is small, and only the indexes make it so.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    rare_recordings constant bigint := 150;
    -- Of each combination, and of how many words.
    combination_recordings constant bigint := 20;
    combined_words constant integer := 3;
    -- A word that more of all recordings have is looked for in titles and tags alone. One that more than half of
    -- them have hardly weighs anything, and is not looked for if there is another one.
    common_share constant double precision := 0.1;
    rare text;
    rare_headline text;
    combined text[];
    combined_headline text[];
begin
    select
        string_agg(t.query, ' | ') filter (where t.is_rare),
        string_agg(t.query, ' | ') filter (where not t.is_rare and t.is_rare_headline),
        array_agg(t.query order by t.place) filter (
            where not t.is_rare
              and t.recordings <= greatest(rare_recordings, common_share * in_total)
        ),
        array_agg(t.query order by t.place) filter (
            where not t.is_rare
              and not t.is_rare_headline
              and (t.recordings <= in_total / 2 or t.place = 1)
        )
    into rare, rare_headline, combined, combined_headline
    from (
        select
            public.audio_word_query_v1(t.word) as query, t.place, t.recordings,
            sum(t.recordings) over (order by t.place) <= rare_recordings as is_rare,
            sum(t.headlines) over (order by t.headlines, t.place) <= rare_recordings as is_rare_headline
        from unnest(in_words, in_recordings, in_headlines) with ordinality t (word, recordings, headlines, place)
    ) t;

    return query
    select r.audio_id
    from public.audio_resources r
    where r.is_active
      and r.configuration = in_configuration
      and r.vector @@ rare::tsquery
    union
    select r.audio_id
    from public.audio_resources r
    where r.is_active
      and r.configuration = in_configuration
      and ts_filter(r.vector, '{a,b}') @@ rare_headline::tsquery
    union
    select r.audio_id
    from unnest(public.audio_combinations_v1(combined[:combined_words], 2)) c (query)
    cross join lateral (
        select r.audio_id
        from public.audio_resources r
        where r.is_active
          and r.configuration = in_configuration
          and r.vector @@ c.query
        limit combination_recordings
    ) r
    union
    select r.audio_id
    from unnest(public.audio_combinations_v1(combined_headline[:combined_words], 1)) c (query)
    cross join lateral (
        select r.audio_id
        from public.audio_resources r
        where r.is_active
          and r.configuration = in_configuration
          and ts_filter(r.vector, '{a,b}') @@ c.query
        limit combination_recordings
    ) r;
end
$$;

-- The cosine of two embeddings of length 1.
create function public.audio_cosine_v1(in_one real[], in_other real[])
returns double precision
language sql
immutable
parallel safe
as $$
    select sum(n.one * n.other)::double precision
    from unnest(in_one, in_other) n (one, other)
$$;

-- The type of pgvector that an index on embeddings of so many numbers has, with its schema; null if there is
-- none.
create function public.audio_vector_type_v1(in_dimensions integer)
returns text
language sql
stable
parallel safe
as $$
    select format('%s.%I', v.schema, t.typname)
    from (select public.audio_extension_v1('vector') as schema) v
    join pg_catalog.pg_type t on t.typnamespace = v.schema::regnamespace
    -- halfvec came with version 0.7.
    where t.typname = case
        when in_dimensions <= 2000 then 'vector'
        when in_dimensions <= 4000 then 'halfvec'
    end
$$;

-- The recordings whose embeddings are nearest to one of the same model, nearest first. By pgvector where this
-- database has it. Without, all are compared, of which there may be 10,000; where there are more, none is found.
create function public.audio_near_v1(in_embedding real[], in_model text, in_limit integer)
returns table (audio_id uuid, cosine double precision)
language plpgsql
stable
security invoker
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    most_recordings constant bigint := 10000;
    -- Those whose numbers have most signs in common are compared number by number.
    compared constant integer := 200;
    dimensions constant integer := cardinality(in_embedding);
    normal constant real[] := public.audio_normal_v1(in_embedding);
    vector_type constant text := public.audio_vector_type_v1(dimensions);
    signs varbit;
begin
    if normal is null then
        return;
    end if;
    if vector_type is not null then
        -- The model and the length are part of the text, as they are of the index.
        return query execute format(
            $sql$
                select r.audio_id, 1 - (r.embedding::%1$s(%2$s) operator(%3$s.<=>) $1::%1$s(%2$s)) as cosine
                from public.audio_resources r
                where r.is_active
                  and r.embedding_model = %4$L
                  and cardinality(r.embedding) = %2$s
                order by r.embedding::%1$s(%2$s) operator(%3$s.<=>) $1::%1$s(%2$s)
                limit $2
            $sql$,
            vector_type, dimensions, public.audio_extension_v1('vector'), in_model
        )
        using normal, in_limit;
        return;
    end if;

    if most_recordings < (
        select count(*)
        from (
            select
            from public.audio_resources r
            where r.is_active
              and r.embedding_model = in_model
            limit most_recordings + 1
        ) r
    ) then
        return;
    end if;
    signs := public.audio_signs_v1(normal);
    return query
    select n.audio_id, n.cosine
    from (
        select r.audio_id, public.audio_cosine_v1(r.embedding, normal) as cosine
        from (
            select r.audio_id, r.embedding
            from public.audio_resources r
            where r.is_active
              and r.embedding_model = in_model
              and length(r.embedding_signs) = dimensions
            order by bit_count(r.embedding_signs # signs)
            limit compared
        ) r
    ) n
    order by n.cosine desc, n.audio_id
    limit in_limit;
end
$$;

-- Finds recordings, best first: by the words of the query, and by its meaning where it has an embedding. The
-- order is that of the two lists together, by reciprocal ranks.
--
-- By words: the query is made into words in each configuration of the catalogue, and those are looked for in
-- the recordings of that configuration. The measure of a recording is the share of the query's weight that it
-- matches, where a word in the title counts fully, and one in the transcript less, so it means the same for
-- every query.
create function public.audio_search_v1(
    in_query text,
    -- What was said before: it changes the order, and nothing else.
    in_context text,
    in_embedding real[],
    in_embedding_model text,
    -- Recordings to search instead of the catalogue, as objects with the names of its columns; or null.
    in_given jsonb,
    -- Only where the catalogue has no active recording.
    in_only_if_empty boolean,
    in_limit integer
)
returns table (
    audio_id uuid,
    filename text,
    location text,
    title text,
    summary text,
    language text,
    duration_seconds double precision,
    tags text[],
    relevance double precision,
    words_score double precision,
    words_rank bigint,
    meaning_score double precision,
    meaning_rank bigint,
    matched text[]
)
language plpgsql
stable
security invoker
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    -- What a word counts for that is once in transcript, summary, tags or title. Often is more: up to 1.64
    -- times as much, and nothing counts for more than 1.
    field_factors constant real[] := '{0.25, 0.7, 0.9, 1}';
    often constant double precision := 1.64493406685;
    -- What the context adds to the order at most.
    context_weight constant double precision := 0.2;
    -- How many of each list are ranked.
    list_length constant integer := 40;
    -- The constant of reciprocal ranks.
    fusion constant double precision := 60;

    is_given constant boolean := in_given is not null and not (
        in_only_if_empty
        and exists (select from public.audio_words w where w.word = '' and w.recordings > 0)
    );
    normal constant real[] := public.audio_normal_v1(in_embedding);
    given_ids uuid[];
    given_configurations text[];
    given_vectors tsvector[];

    -- The words of the query, and what all of them weigh in each configuration.
    term_configurations text[];
    term_totals bigint[];
    term_typed text[];
    term_words text[];
    term_recordings bigint[];
    term_headlines bigint[];
    term_weights double precision[];
    term_factors double precision[];
    term_queries tsquery[];
    context_configurations text[];
    context_queries text[];

    candidates uuid[];
    word_ids uuid[];
    word_scores double precision[];
    word_matched text[];
    near_ids uuid[];
begin
    if is_given then
        select array_agg(g.audio_id), array_agg(g.configuration), array_agg(g.vector)
        into given_ids, given_configurations, given_vectors
        from (
            select
                g.audio_id, c.configuration,
                public.audio_recording_vector_v1(c.configuration, g.title, g.tags, g.summary, g.transcript)
                    as vector
            from jsonb_to_recordset(in_given) g (
                audio_id uuid, title text, summary text, transcript text, language text, tags text[],
                is_active boolean
            )
            cross join lateral (
                select public.audio_configuration_v1(g.language) as configuration offset 0
            ) c
            where g.is_active
        ) g;
        if given_ids is null then
            return;
        end if;
    end if;

    select
        array_agg(t.configuration), array_agg(t.total), array_agg(t.typed), array_agg(t.word), array_agg(t.recordings),
        array_agg(t.headlines), array_agg(t.weight), array_agg(t.factor),
        array_agg(public.audio_word_query_v1(t.word)::tsquery)
    into
        term_configurations, term_totals, term_typed, term_words, term_recordings, term_headlines, term_weights, term_factors,
        term_queries
    from public.audio_terms_v1(in_query, true, given_configurations, given_vectors) t;

    if in_context <> '' then
        select array_agg(c.configuration), array_agg(c.query)
        into context_configurations, context_queries
        from (
            select t.configuration, string_agg(public.audio_word_query_v1(t.word), ' | ') as query
            from (
                select
                    t.configuration, t.word,
                    row_number() over (partition by t.configuration order by t.weight desc, t.word) as place
                from public.audio_terms_v1(in_context, false, given_configurations, given_vectors) t
                where t.recordings > 0
            ) t
            where t.place <= 8
            group by t.configuration
        ) c;
    end if;

    if not is_given then
        candidates := array(
            select c.audio_id
            from (
                select
                    t.configuration, max(t.total) as total,
                    array_agg(t.word order by t.recordings, t.word) as words,
                    array_agg(t.recordings order by t.recordings, t.word) as recordings,
                    array_agg(t.headlines order by t.recordings, t.word) as headlines
                from unnest(term_configurations, term_totals, term_words, term_recordings, term_headlines)
                    t (configuration, total, word, recordings, headlines)
                where t.recordings > 0
                group by t.configuration
            ) t
            cross join public.audio_candidates_v1(t.configuration, t.total, t.words, t.recordings, t.headlines) c
        );
    end if;

    select
        array_agg(s.audio_id order by s.place), array_agg(s.score order by s.place),
        array_agg(s.matched order by s.place)
    into word_ids, word_scores, word_matched
    from (
        select
            r.audio_id, found.score, found.matched,
            row_number() over (
                order by
                    found.score + context_weight * often * coalesce(
                        ts_rank(field_factors, r.vector, (
                            select c.query::tsquery
                            from unnest(context_configurations, context_queries) c (configuration, query)
                            where c.configuration = r.configuration
                        )),
                        0
                    ) desc,
                    found.often desc,
                    r.audio_id
            ) as place
        from (
            -- Put together anew, so that it is unpacked once.
            select r.audio_id, r.configuration, r.vector || '' as vector
            from public.audio_resources r
            where r.audio_id = any (candidates)
            union all
            select g.audio_id, g.configuration, g.vector
            from unnest(given_ids, given_configurations, given_vectors) g (audio_id, configuration, vector)
        ) r
        cross join lateral (
            select
                sum(t.weight * t.factor * least(1, t.rank)) / sum(t.weight) as score,
                sum(t.weight * t.factor * t.rank) as often,
                string_agg(t.typed, ' ') filter (where t.rank > 0) as matched
            from (
                select
                    t.typed, t.weight, t.factor, often * ts_rank(field_factors, r.vector, t.query) as rank
                from unnest(term_configurations, term_typed, term_queries, term_weights, term_factors)
                    t (configuration, typed, query, weight, factor)
                where t.configuration = r.configuration
                offset 0
            ) t
        ) found
        where found.score > 0
        order by place
        limit list_length
    ) s;

    if in_embedding is not null and not is_given then
        select array_agg(n.audio_id order by n.cosine desc, n.audio_id)
        into near_ids
        from public.audio_near_v1(in_embedding, in_embedding_model, list_length) n;
    end if;

    return query
    select
        r.audio_id, r.filename, r.location, r.title, r.summary, r.language, r.duration_seconds, r.tags,
        case when r.cosine is null then f.words_score else greatest(0, least(1, r.cosine)) end as relevance,
        f.words_score, f.words_rank,
        case when f.meaning_rank is not null then r.cosine end, f.meaning_rank,
        coalesce(string_to_array(f.matched, ' '), '{}')
    from (
        select
            coalesce(w.audio_id, n.audio_id) as audio_id, w.score as words_score, w.rank as words_rank,
            w.matched, n.rank as meaning_rank,
            coalesce(1 / (fusion + w.rank), 0) + coalesce(1 / (fusion + n.rank), 0) as fused
        from unnest(word_ids, word_scores, word_matched) with ordinality w (audio_id, score, matched, rank)
        full join unnest(near_ids) with ordinality n (audio_id, rank) on n.audio_id = w.audio_id
    ) f
    join (
        select
            r.audio_id, r.filename, r.location, r.title, r.summary, r.language, r.duration_seconds, r.tags,
            case
                when r.embedding_model = in_embedding_model
                    and cardinality(r.embedding) = cardinality(in_embedding)
                    then public.audio_cosine_v1(r.embedding, normal)
            end as cosine
        from public.audio_resources r
        where r.audio_id = any (word_ids || near_ids)
          and not is_given
        union all
        select
            g.audio_id, g.filename, g.location, g.title, g.summary, g.language, g.duration_seconds, g.tags, null
        from jsonb_to_recordset(in_given) g (
            audio_id uuid, filename text, location text, title text, summary text, language text,
            duration_seconds double precision, tags text[]
        )
        where is_given
    ) r on r.audio_id = f.audio_id
    order by f.fused desc, relevance desc, f.audio_id
    limit in_limit;
end
$$;

-- Makes the indexes that need an extension of the server, where it has one: for similar words, and for each
-- model with many embeddings. Only the owner of the tables can; for others it does nothing. It locks the table
-- while it works.
create function public.audio_index_v1()
returns void
language plpgsql
security invoker
as $$
declare
    -- Fewer are compared as fast without an index.
    least_recordings constant bigint := 1000;
    trigrams constant text := public.audio_extension_v1('pg_trgm');
    models jsonb;
    this_model record;
    index_name text;
    wanted text[] := '{}';
begin
    if not pg_has_role(
        (select c.relowner from pg_catalog.pg_class c where c.oid = 'public.audio_resources'::regclass), 'usage'
    ) then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext('audio_index_v1'));
    delete from public.audio_words w where w.recordings = 0;
    if trigrams is not null then
        execute format(
            'create index if not exists audio_words_trigrams on public.audio_words using gin (word %s.gin_trgm_ops)',
            trigrams
        );
    end if;
    -- All of them first: no index is made of a table that is being read.
    select jsonb_agg(m)
    into models
    from (
        select
            r.embedding_model as model, cardinality(r.embedding) as dimensions,
            public.audio_vector_type_v1(cardinality(r.embedding)) as vector_type
        from public.audio_resources r
        where r.is_active
          and r.embedding is not null
        group by r.embedding_model, cardinality(r.embedding)
        having count(*) >= least_recordings
    ) m;
    for this_model in
        select m.model, m.dimensions, m.vector_type
        from jsonb_to_recordset(models) m (model text, dimensions integer, vector_type text)
    loop
        continue when this_model.vector_type is null;
        index_name := 'audio_resources_meaning_' || md5(this_model.model || ' ' || this_model.dimensions);
        wanted := wanted || index_name;
        execute format(
            $sql$
                create index if not exists %1$I on public.audio_resources
                using hnsw ((embedding::%2$s(%3$s)) %4$s_cosine_ops)
                where is_active and embedding_model = %5$L and cardinality(embedding) = %3$s
            $sql$,
            index_name, this_model.vector_type, this_model.dimensions, this_model.vector_type, this_model.model
        );
    end loop;
    for index_name in
        select c.relname
        from pg_catalog.pg_index i
        join pg_catalog.pg_class c on c.oid = i.indexrelid
        where i.indrelid = 'public.audio_resources'::regclass
          and starts_with(c.relname, 'audio_resources_meaning_')
          and c.relname <> all (wanted)
    loop
        execute format('drop index public.%I', index_name);
    end loop;
end
$$;

revoke execute on function
    public.audio_extension_v1, public.audio_replacements_v1, public.audio_weight_v1, public.audio_terms_v1,
    public.audio_word_query_v1, public.audio_combinations_v1, public.audio_candidates_v1,
    public.audio_cosine_v1, public.audio_vector_type_v1, public.audio_near_v1, public.audio_search_v1,
    public.audio_index_v1
from public;
