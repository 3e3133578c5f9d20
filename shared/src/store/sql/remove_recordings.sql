-- Deletes recordings, in the order of their ids, so that it and an import wait for each other.
--
-- $1 their ids
with
locked as (
    select r.audio_id
    from public.audio_resources r
    where r.audio_id = any($1)
    order by r.audio_id
    for update of r
),
removed as (
    delete from public.audio_resources r
    using locked l
    where r.audio_id = l.audio_id
    returning r.audio_id
)
select count(*) as removed
from removed
