-- Adds recordings and changes those that differ; leaves the others as they are. In the order of their ids, so
-- that two imports wait for each other instead of locking each other out.
--
-- $1 recordings, an array of objects with the names of the columns; of several with the same id the last counts
with
given as (
    select distinct on (r.audio_id) r.*
    from rows from (
        jsonb_to_recordset($1) as (
            audio_id uuid,
            filename text,
            location text,
            title text,
            summary text,
            transcript text,
            language text,
            duration_seconds double precision,
            tags text[],
            metadata jsonb,
            is_active boolean,
            digest bytea
        )
    ) with ordinality r
    order by r.audio_id, r.ordinality desc
),
put as (
    insert into public.audio_resources as stored (
        audio_id, filename, location, title, summary, transcript, language, duration_seconds, tags, metadata,
        is_active, digest
    )
    select
        g.audio_id, g.filename, g.location, g.title, g.summary, g.transcript, g.language, g.duration_seconds,
        g.tags, g.metadata, g.is_active, g.digest
    from given g
    order by g.audio_id
    on conflict (audio_id) do update
    set filename = excluded.filename,
        location = excluded.location,
        title = excluded.title,
        summary = excluded.summary,
        transcript = excluded.transcript,
        language = excluded.language,
        duration_seconds = excluded.duration_seconds,
        tags = excluded.tags,
        metadata = excluded.metadata,
        is_active = excluded.is_active,
        digest = excluded.digest
    where stored.digest is distinct from excluded.digest
    -- A row that was there has been locked by this transaction.
    returning stored.xmax = 0 as is_new
)
select
    count(*) filter (where is_new) as added,
    count(*) filter (where not is_new) as changed
from put
