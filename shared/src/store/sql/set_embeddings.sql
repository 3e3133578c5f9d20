-- Stores the embeddings of recordings whose text is still the one they were made of.
--
-- $1 the model
-- $2 the ids of the recordings
-- $3 when the text of each was last changed, in the order of the ids
-- $4 the numbers of all embeddings, one after the other
-- $5 how many numbers each has
with
given as (
    select
        g.audio_id, g.updated_at,
        ($4::real[])[sum(g.length) over before + 1 - g.length:sum(g.length) over before] as embedding
    from unnest($2, $3, $5) with ordinality g (audio_id, updated_at, length, place)
    window before as (order by g.place)
),
-- In the order of their ids, so that two of these wait for each other.
locked as (
    select r.audio_id, g.embedding
    from public.audio_resources r
    join given g
        on g.audio_id = r.audio_id
        and g.updated_at = r.updated_at
    order by r.audio_id
    for update of r
),
changed as (
    update public.audio_resources r
    set embedding = l.embedding,
        embedding_model = $1
    from locked l
    where r.audio_id = l.audio_id
    returning r.audio_id
)
select count(*) as changed
from changed
