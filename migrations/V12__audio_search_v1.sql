-- Placeholder bodies; see the next commit.
create function public.audio_search_v1(
    in_query text, in_context text, in_embedding real[], in_embedding_model text, in_given jsonb,
    in_only_if_empty boolean, in_limit integer
)
returns table (
    audio_id uuid, filename text, location text, title text, summary text, language text,
    duration_seconds double precision, tags text[], relevance double precision,
    words_score double precision, words_rank bigint,
    meaning_score double precision, meaning_rank bigint, matched text[]
)
language plpgsql
security invoker
as $$ begin return; end $$;

create function public.audio_index_v1()
returns void
language plpgsql
security invoker
as $$ begin return; end $$;

revoke execute on function public.audio_search_v1, public.audio_index_v1 from public;
